"""Optional packages: whether one is installed, and how to get it."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from FetusMapV2Lib.core.errors import UserError


def require_package(module: str, purpose: str, extra: str, loaded_by: str = "") -> None:
    """Refuse what needs an optional package before work is spent on it; it is imported.

    Args:
        module: that is imported.
        purpose: what needs it, the subject of the message.
        extra: of this project that installs it.
        loaded_by: the module of this project that imports it, if something has to come before.

    Raises:
        UserError: it is not installed, or a library of the system that it needs is not.
    """
    if find_spec(module) is None:
        remedy = f'In the folder of FetusMapV2, run: pip install ".[{extra}]"'
        raise UserError(f"{purpose} needs the package {module}, which is not installed", remedy=remedy)
    try:
        import_module(loaded_by or module)
    except ImportError as error:  # such as "libGL.so.1: cannot open shared object file"
        problem = f"{purpose} needs the package {module}, which cannot be loaded ({error})"
        remedy = "Install the libraries that it names; on Debian, in the folder of FetusMapV2: make system-packages"
        raise UserError(problem, remedy=remedy) from error
