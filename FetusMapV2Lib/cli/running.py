"""How a command begins and ends: signals, streams of any encoding, one line and an exit code for what went wrong."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import TextIO, cast

import typer

from FetusMapV2Lib.cli.console import STOPPED, print_error, print_message, print_usage_error
from FetusMapV2Lib.cli.journal import journal
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.faults import as_user_error, wants_traceback
from FetusMapV2Lib.core.safe_text import printable
from FetusMapV2Lib.core.stop_signals import Stopped, stop_signals, stopped

#: Exit code when this program, not its user, is at fault.
FAULT = 1
_UsageError = cast("type[Exception]", typer.BadParameter.__mro__[1])  # Typer may bring a Click of its own


def run(app: Callable[..., object]) -> int:
    """Run a Typer application, called with ``standalone_mode=False``; returns the exit code of the process."""
    for stream in (sys.stdout, sys.stderr):
        _take_any_text(stream)
    own = journal()
    with stop_signals(even_if_ignored=own.hears_stops):
        code = _code_of(app)
        stop = stopped()
        if stop is not None:  # whatever became of it on its way here
            code = stop.exit_code
        if code > 128:
            print_message(printable((stop.kept if stop is not None else "") or STOPPED))
    code = _flushed(code)
    own.finish(code)
    return code


def report(error: Exception, where: str | os.PathLike[str] | None = None) -> UserError:
    """Print an error as one line, see `as_user_error`; its traceback too if that is asked for."""
    if wants_traceback(error):
        print_message("".join(traceback.format_exception(error)).rstrip())
    told = as_user_error(error, where)
    print_error(told)
    return told


def _code_of(app: Callable[..., object]) -> int:
    try:
        journal().listen()
        code = app(standalone_mode=False, prog_name="fetusmap")
    except UserError as error:
        print_error(error)
        return error.exit_code
    except _UsageError as error:
        print_usage_error(error)
        return 2
    except (KeyboardInterrupt, typer.Abort):  # Typer turns one into the other, or into the code 130
        return Stopped().exit_code
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BrokenPipeError:
        _hush(sys.stdout)
        return FAULT
    except Exception as error:
        if stopped() is None:
            report(error)
        return FAULT
    return code if isinstance(code, int) else 0


def _take_any_text(stream: TextIO) -> None:
    """Letters that the encoding of a stream lacks are written as escapes instead of ending the command."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")


def _flushed(code: int) -> int:
    """The code, once everything is printed; a reader that has gone (``| head``) is no reason for a complaint."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _hush(sys.stdout)
        return code or FAULT
    except (OSError, ValueError, AttributeError):  # a full disk behind ">", a closed stream, or none at all
        return code or FAULT
    return code


def _hush(stream: TextIO) -> None:
    """Nothing more is written to a stream, at the end of the process neither."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
