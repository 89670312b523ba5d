"""Options that every command takes, before or after its name: how much is printed, a log file, a settings file."""

from __future__ import annotations

from collections.abc import Sequence

#: Options of `fetusmap` itself, and whether a value follows.
GLOBAL_OPTIONS = {
    "--verbose": False,
    "-v": False,
    "--quiet": False,
    "-q": False,
    "--log": True,
    "--config": True,
}
#: Options that are answered without running a command.
ANSWERED_AT_ONCE = ("--help", "-h", "--version", "--show-completion", "--install-completion")


def global_options_first(words: Sequence[str]) -> list[str]:
    """A command line with the global options moved before the command, where the parser expects them.

    Args:
        words: arguments; those after ``--`` stay where they are.
    """
    moved: list[str] = []
    kept: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return [*moved, *kept, word, *rest]
        name, equals, _ = word.partition("=")
        if name not in GLOBAL_OPTIONS or (equals and not GLOBAL_OPTIONS[name]):
            kept.append(word)
            continue
        moved.append(word)
        if GLOBAL_OPTIONS[name] and not equals and rest:
            moved.append(rest.pop(0))
    return [*moved, *kept]


def command_name(words: Sequence[str]) -> str | None:
    """The command that a command line runs; None if it runs none, as with ``--help``."""
    if any(word in ANSWERED_AT_ONCE for word in words[: _before_the_end_of_options(words)]):
        return None
    rest = global_options_first(words)
    while rest and rest[0].startswith("-"):
        name, equals, _ = rest.pop(0).partition("=")
        if GLOBAL_OPTIONS.get(name) and not equals and rest:
            rest.pop(0)
    return rest[0] if rest else None


def _before_the_end_of_options(words: Sequence[str]) -> int:
    return list(words).index("--") if "--" in words else len(words)
