"""What a check of annotated cases says: findings, each with its file, landmark and remedy, and their cases."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from FetusMapV2Lib.core.safe_text import printable, printable_sentence
from FetusMapV2Lib.training.checking.thumbnail import Thumbnail

#: An error teaches a model something wrong; a warning should be looked at.
Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or doubtful.

    Attributes:
        severity: "error" or "warning".
        kind: short key, e.g. "outside" or "sides".
        case: name of the case; that of the folder for findings about all of them.
        file: name of the file that is to be corrected.
        landmark: names of the landmarks it concerns; empty if it concerns none in particular.
        problem: what, one clause.
        remedy: what to do, one sentence without a full stop.
    """

    severity: Severity
    kind: str
    case: str
    file: str
    landmark: str
    problem: str
    remedy: str

    def line(self) -> str:
        """The finding as one printable line."""
        what = f"{self.landmark}: {self.problem}" if self.landmark else self.problem
        return f"{self.severity}: {printable(self.file)}: {printable_sentence(what)}. {self.remedy}."

    def document(self) -> dict[str, str]:
        """The finding as plain JSON values."""
        return {name: printable(str(value)) for name, value in vars(self).items()}


@dataclass(frozen=True, eq=False)
class CheckedCase:
    """A case and what was found.

    Attributes:
        name: of the case.
        landmarks: number of landmarks that are placed.
        fetus_present: false where its ``.json`` says so.
        findings: errors first.
        thumbnails: its volume with the skeleton drawn; empty if the volume could not be read.
    """

    name: str
    landmarks: int
    fetus_present: bool
    findings: tuple[Finding, ...]
    thumbnails: tuple[Thumbnail, ...] = ()

    def count(self, severity: Severity) -> int:
        """Number of findings of one severity."""
        return sum(finding.severity == severity for finding in self.findings)


@dataclass(frozen=True, eq=False)
class CheckedFolder:
    """The result of a check.

    Attributes:
        folder: as it was given.
        cases: those with most errors, then warnings, first.
        general: findings about the folder, or about files that belong to no case.
    """

    folder: str
    cases: tuple[CheckedCase, ...]
    general: tuple[Finding, ...] = field(default=())

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, errors first."""
        every = [*self.general, *(finding for case in self.cases for finding in case.findings)]
        return errors_first(every)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that stop a training."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings to look at."""
        return tuple(finding for finding in self.findings if finding.severity == "warning")

    def summary(self) -> str:
        """One sentence."""
        with_fetus = sum(case.fetus_present and case.landmarks > 0 for case in self.cases)
        without = sum(not case.fetus_present for case in self.cases)
        return (
            f"{with_fetus} annotated cases, {without} without a fetus: {_counted(len(self.errors), 'error')}, "
            f"{_counted(len(self.warnings), 'warning')}"
        )

    def document(self) -> dict[str, Any]:
        """The result as plain JSON values."""
        return {
            "folder": printable(self.folder),
            "errors": len(self.errors),
            "warnings": len(self.warnings),
            "cases": [
                {"name": printable(case.name), "landmarks": case.landmarks, "fetus_present": case.fetus_present}
                for case in sorted(self.cases, key=lambda case: case.name)
            ],
            "findings": [finding.document() for finding in self.findings],
        }


def errors_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings with the errors before the warnings, otherwise in their order."""
    return tuple(sorted(findings, key=lambda finding: finding.severity != "error"))


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
