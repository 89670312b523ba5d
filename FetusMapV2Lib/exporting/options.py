"""What is written of an estimate, and how: the kinds of files and the options of `export`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from FetusMapV2Lib.anatomy.dating import FORMULAS, check_formula
from FetusMapV2Lib.anatomy.known_dates import KnownDates
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.packages import require_package
from FetusMapV2Lib.reporting.paper import PAPERS, Paper

if TYPE_CHECKING:
    from FetusMapV2Lib.anatomy.body_sections import BodySection
    from FetusMapV2Lib.anatomy.nuchal import Nuchal
    from FetusMapV2Lib.imaging.edit_log import Edit
    from FetusMapV2Lib.imaging.point_notes import PointState
    from FetusMapV2Lib.imaging.study import Study
    from FetusMapV2Lib.reporting.earlier import EarlierExamination
    from FetusMapV2Lib.reporting.report import Picture, Report

Kind = Literal["landmarks", "csv", "json", "scene", "picture", "html", "pdf", "dicom", "dicom3d", "fhir"]
#: All kinds, in the order in which files are written.
KINDS: tuple[Kind, ...] = get_args(Kind)
#: What is written of every estimate.
RESULT_KINDS: tuple[Kind, ...] = ("landmarks", "csv", "json")
#: The files of a report.
REPORT_KINDS: tuple[Kind, ...] = ("html", "pdf", "dicom", "dicom3d", "fhir")
#: The files of a report that need no further package.
PLAIN_REPORT_KINDS: tuple[Kind, ...] = ("html", "dicom", "dicom3d", "fhir")
#: Kinds that show views of the volume, besides the picture itself.
_WITH_PICTURES = ("html", "pdf")
#: The end of the file names.
SUFFIXES: dict[Kind, str] = {
    "landmarks": ".mrk.json",
    "csv": ".measurements.csv",
    "json": ".measurements.json",
    "scene": ".mrb",
    "picture": ".png",
    "html": ".report.html",
    "pdf": ".report.pdf",
    "dicom": ".sr.dcm",
    "dicom3d": ".sr3d.dcm",
    "fhir": ".fhir.json",
}

#: Prints a report to a PDF file; see `reporting.pdf.print_pdf`.
PrintPdf = Callable[["Report", Path], None]


@dataclass(frozen=True, eq=False)
class ByHand:
    """What a person did to a fetus that is not the first of its volume; see `ExportOptions`.

    Attributes:
        states: of its landmarks.
        sections: outlines of its head and abdomen.
        edits: of its landmarks.
        nuchal: its nuchal translucency.
    """

    states: Sequence[PointState] = ()
    sections: Sequence[BodySection] = ()
    edits: Sequence[Edit] = ()
    nuchal: Nuchal | None = None


@dataclass(frozen=True, eq=False)
class ExportOptions:
    """What `export` writes, and what it needs to know of the case.

    Attributes:
        kinds: files to write: "landmarks" (Slicer Markups), "csv" and "json" (measurements), "scene" (.mrb),
            "picture" (.png), and of a report "html", "pdf", "dicom" (SR), "dicom3d" (SR with
            3D points) and "fhir".
        stem: the beginning of the file names; empty = the name of the volume.
        overwrite: whether the files of an earlier export may be replaced.
        shared: whether other users of this computer may read the files.
        identifiers: whether files may contain the patient, the study, the day and the name of the volume.
        dating: key of the dating formula that the report puts first.
        source: file or folder that the volume was read from; if it is DICOM, the report contains its patient and study.
        study: patient and study of the volume, in place of those of `source`.
        dates: of the pregnancy, for due date and centile; None = the day of the study alone, if that is known.
        states: per landmark "estimated", "edited", "confirmed" or "missing"; empty if nobody edited the pose.
        sections: outlines of head and abdomen set by hand, in place of those that are found in the volume.
        edits: what was done to the landmarks by hand (`PoseScene.edit_log`); without identifiers neither who nor when.
        nuchal: the nuchal translucency, if somebody measured it.
        others: what a person did to the further fetuses of the estimate, in their order; empty = nothing.
        chosen: of several fetuses the number of the one that `pictures` and `earlier` are of, from 1.
        operator: who looked at the landmarks.
        institution: where the examination took place.
        comment: of the examiner.
        chorionicity: of several fetuses, as the examiner tells it; nothing in the volume is measured for it.
        earlier: an earlier examination of the same patient, to tell the growth since.
        paper: size of the sheets of the report, "a4" or "letter".
        pictures: views for the report; None = drawn off-screen.
        print_pdf: prints the report as PDF; None = printed by PySide6.
        on_remark: called with a sentence for each value that a report omits because it cannot be right.

    Examples:
        >>> fm.ExportOptions(kinds=("html", "landmarks"), identifiers=False).kinds  # in the order of writing
        ('landmarks', 'html')
    """

    kinds: Collection[Kind] = RESULT_KINDS
    stem: str = ""
    overwrite: bool = False
    shared: bool = False
    identifiers: bool = True
    dating: str = FORMULAS[0]
    source: Path | None = None
    study: Study | None = None
    dates: KnownDates | None = None
    states: Sequence[PointState] = ()
    sections: Sequence[BodySection] = ()
    edits: Sequence[Edit] = ()
    nuchal: Nuchal | None = None
    others: Sequence[ByHand] = ()
    chosen: int = 1
    operator: str = ""
    institution: str = ""
    comment: str = ""
    chorionicity: str = ""
    earlier: EarlierExamination | None = None
    paper: Paper = "a4"
    pictures: Sequence[Picture] | None = None
    print_pdf: PrintPdf | None = None
    on_remark: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in KINDS:
                raise InputError(f"there is no kind of file '{kind}'", remedy=f"Use one of: {', '.join(KINDS)}")
        object.__setattr__(self, "kinds", tuple(kind for kind in KINDS if kind in self.kinds))

    @property
    def shows_pictures(self) -> bool:
        """Whether a report is written that shows views of the volume."""
        return any(kind in self.kinds for kind in _WITH_PICTURES)

    def check(self, *, frames: int = 1) -> None:
        """Refuse what cannot be written before work is spent on it.

        Args:
            frames: number of volumes; a sequence needs more.

        Raises:
            UserError: a package is missing, or the dating formula is unknown.
        """
        check_formula(self.dating)
        if self.paper not in PAPERS:
            raise InputError(f"there is no paper '{self.paper}'", remedy=f"Use {' or '.join(PAPERS)}")
        drawn = self.pictures is None and self.shows_pictures
        if drawn or "scene" in self.kinds or "picture" in self.kinds:
            require_package("slicer", "A scene, picture or report", "slicer")
        if "pdf" in self.kinds and self.print_pdf is None:
            require_package("PySide6", "A report as PDF", "pdf")
        if "picture" in self.kinds and frames > 1:
            require_package("matplotlib", "The picture of a movement", "evaluate")
