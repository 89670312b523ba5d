"""The errors a user may see: each says what is wrong, where, and what to do.

Raise these for a user's mistake or a broken input; let programming errors surface as they are.
"""

from __future__ import annotations

import os

from FetusMapV2Lib.core.safe_text import printable, printable_sentence


class UserError(Exception):
    """A problem that the user can solve.

    Args:
        problem: what is wrong, one clause without a full stop.
        where: file, option or landmark that it concerns, if any.
        remedy: what to do about it, one sentence without a full stop, valid on the command line and in the panel.
        option: the option of the command line that does it, e.g. "--overwrite"; the panel has its own widgets.

    ``str()`` gives one line: ``where: problem. Remedy (option).``

    Examples:
        >>> try:
        ...     fm.read_volume("lost.nrrd")
        ... except fm.UserError as error:
        ...     print(error)
        lost.nrrd: no such file. Check the path.
    """

    exit_code = 2

    def __init__(
        self, problem: str, *, where: str | os.PathLike[str] | None = None, remedy: str = "", option: str = ""
    ) -> None:
        self.problem = problem
        self.where = os.fspath(where) if where is not None else ""
        self.remedy = remedy
        self.option = option
        super().__init__(self.line())

    def line(self, *, with_option: bool = True) -> str:
        """The message as one printable line; without the option where there is no command line."""
        problem = printable_sentence(self.problem)
        head = f"{printable(self.where)}: {problem}" if self.where else problem
        option = f" ({self.option})" if self.option and with_option else ""
        tail = f" {printable_sentence(self.remedy).rstrip('.')}{option}." if self.remedy else ""
        return f"{head}{tail}" if head.endswith("?") else f"{head.rstrip('.')}.{tail}"


class InputError(UserError):
    """A volume, landmark file or sequence that cannot be read or cannot be right."""


class OutputError(UserError):
    """A result that cannot be written: it exists, the disk is full, the folder is read-only."""


class ModelError(UserError):
    """A model file that is missing, corrupt, of another landmark schema, or with a wrong checksum."""


class Cancelled(Exception):  # noqa: N818 - the answer to a request, not an error
    """Raised inside a long job when its ``should_cancel`` callback said yes."""
