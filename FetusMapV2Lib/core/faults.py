"""Any exception as the one line that a user sees."""

from __future__ import annotations

import os

from FetusMapV2Lib.core.errors import InputError, UserError

#: Environment variable: set to 1 to see the tracebacks of unexpected errors.
TRACEBACK = "FETUSMAP_TRACEBACK"


def as_user_error(error: BaseException, where: str | os.PathLike[str] | None = None) -> UserError:
    """The error to show for an exception, expected or not.

    Args:
        error: the exception; a `UserError` is returned as it is.
        where: the file that was being processed, if any.
    """
    if isinstance(error, UserError):
        return error
    if isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error):  # torch has no type of its own for this
        remedy = "Close other programs, or export a smaller volume"
        return InputError("the volume does not fit into the memory", where=where, remedy=remedy)
    if isinstance(error, OSError):
        path = where if where is not None else error.filename
        return UserError(f"cannot be read or written ({error.strerror or error})", where=path)
    text = str(error)
    problem = f"{type(error).__name__}: {text}" if text else type(error).__name__
    remedy = f"Set {TRACEBACK}=1 in the environment to see the traceback"
    return UserError(f"unexpected {problem}", where=where, remedy=remedy)


def wants_traceback(error: BaseException) -> bool:
    """Whether this is an unexpected error and the environment asks for tracebacks."""
    return not isinstance(error, UserError) and os.environ.get(TRACEBACK, "0") not in ("", "0")
