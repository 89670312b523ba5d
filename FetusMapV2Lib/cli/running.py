"""Start and end of a command: signals, encodings of the streams, one line and an exit code for errors."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import TextIO, cast

import typer

from FetusMapV2Lib.cli.console import STOPPED, print_error, print_message, print_usage_error, verbosity
from FetusMapV2Lib.cli.global_options import global_options_first
from FetusMapV2Lib.cli.supervisor_link import supervisor_link
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.faults import as_user_error, wants_traceback
from FetusMapV2Lib.core.safe_text import printable
from FetusMapV2Lib.core.stop_signals import Stopped, stop_signals, stopped

#: Exit code for an error of the program, not of its user.
FAULT = 1
_UsageError = cast("type[Exception]", typer.BadParameter.__mro__[1])  # Typer may bring a Click of its own


def run(app: Callable[..., object]) -> int:
    """Run a Typer application, called with ``standalone_mode=False``; returns the exit code of the process."""
    for stream in (sys.stdout, sys.stderr):
        _escape_unencodable(stream)
    link = supervisor_link()
    with stop_signals(even_if_ignored=link.receives_stops):
        code = _code_of(app)
        stop = stopped()
        if stop is not None:  # also where a library has caught the exception
            code = stop.exit_code
        if code > 128:
            print_message(printable((stop.kept if stop is not None else "") or STOPPED))
    code = _flushed(code)
    link.finish(code)
    return code


def report(error: Exception, where: str | os.PathLike[str] | None = None) -> UserError:
    """Print an error as one line, see `as_user_error`; the traceback of an unexpected one too if that is wanted."""
    if wants_traceback(error) or (verbosity.stages and not isinstance(error, UserError)):
        print_message("".join(traceback.format_exception(error)).rstrip())
    shown = as_user_error(error, where)
    print_error(shown)
    return shown


def _code_of(app: Callable[..., object]) -> int:
    try:
        supervisor_link().listen()
        code = app(global_options_first(sys.argv[1:]), standalone_mode=False, prog_name="fetusmap")
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
        _silence(sys.stdout)
        return FAULT
    except Exception as error:
        if stopped() is None:
            report(error)
        return FAULT
    return code if isinstance(code, int) else 0


def _escape_unencodable(stream: TextIO) -> None:
    """Write characters that the encoding of a stream lacks as escapes instead of raising."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")


def _flushed(code: int) -> int:
    """The exit code after flushing standard output; a reader that has ended (``| head``) is no error to print."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _silence(sys.stdout)
        return code or FAULT
    except (OSError, ValueError, AttributeError):  # a full disk behind ">", a closed stream, or none at all
        return code or FAULT
    return code


def _silence(stream: TextIO) -> None:
    """Discard everything written to a stream from now on, also at the end of the process."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
