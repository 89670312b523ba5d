"""Whatever went wrong, as the one line that a user gets."""

from __future__ import annotations

import os

from FetusMapV2Lib.core.errors import InputError, UserError

#: Environment variable: set to 1 to see where an unexpected error came from.
TRACEBACK = "FETUSMAP_TRACEBACK"


def as_user_error(error: BaseException, where: str | os.PathLike[str] | None = None) -> UserError:
    """The line for an error, foreseen or not.

    Args:
        where: the file that was worked on, if any.
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
    remedy = f"With {TRACEBACK}=1 in the environment it says where that arose"
    return UserError(f"unexpected {problem}", where=where, remedy=remedy)


def wants_traceback(error: BaseException) -> bool:
    """Whether this is an error that nobody foresaw, and somebody asked to see where it arose."""
    return not isinstance(error, UserError) and os.environ.get(TRACEBACK, "0") not in ("", "0")
