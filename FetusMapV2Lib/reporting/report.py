"""The content of a report of one case, the same for every kind of file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import cached_property

from FetusMapV2Lib.anatomy.biometry import Measurement
from FetusMapV2Lib.anatomy.body_sections import HeadAndAbdomen, SectionSize
from FetusMapV2Lib.anatomy.crl_quality import CrlView, crl_quality
from FetusMapV2Lib.anatomy.dating import FORMULAS, Dating
from FetusMapV2Lib.anatomy.growth import Growth, Size, growth
from FetusMapV2Lib.anatomy.head_dating import age_by_head
from FetusMapV2Lib.anatomy.known_dates import DateDecision, KnownDates, decide_dates, measured_by_head
from FetusMapV2Lib.anatomy.measurements import Measurements, measurements
from FetusMapV2Lib.anatomy.nuchal import Nuchal
from FetusMapV2Lib.anatomy.plausibility import Check
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.imaging.edit_log import Edit, without_identity
from FetusMapV2Lib.imaging.point_notes import PointState
from FetusMapV2Lib.imaging.study import Study
from FetusMapV2Lib.imaging.training_cases import VOUCHED_STATES
from FetusMapV2Lib.reporting.earlier import EarlierExamination, unchecked_patient
from FetusMapV2Lib.reporting.paper import Paper
from FetusMapV2Lib.reporting.values import checked_study


@dataclass(frozen=True)
class Picture:
    """A view for the page, PNG."""

    title: str
    png: bytes


@dataclass(frozen=True, eq=False)
class Report:
    """The report of one case.

    Attributes:
        pose: landmarks, RAS mm.
        created: when the report was created, with its time zone.
        name: of the volume; empty if it is withheld.
        formula: key of the chosen dating formula.
        states: per landmark "estimated", "edited", "confirmed" or "missing"; empty if unknown.
        edits: what was done to the landmarks by hand, the oldest first; who and when are empty if they are withheld.
        model: name and identity of the model; empty if unknown.
        device: where the network ran.
        warnings: of the engine.
        model_card: what the model was trained on, one sentence; empty if unknown.
        operator: who looked at the landmarks.
        institution: where; empty if it is not named or withheld.
        comment: of the examiner; empty if there is none or it is withheld.
        study: patient and study, if the input was DICOM and they are not withheld.
        frame_of_reference: UID of the space that the landmarks lie in: that of the source images, if they lie in it and
            it is not withheld; empty = a new one.
        dates: of the pregnancy, if they are known and not withheld.
        pictures: views of volume and skeleton.
        crl_image: the crown-rump length in its slice (`crl_picture.crl_picture`), SVG; empty without a volume.
        earlier: an examination before this one; None without one, or if it is withheld.
        sections: head and abdomen measured in the volume; None without one.
        nuchal: the nuchal translucency; None if nobody measured it.
        crl_view: what the volume tells of the image of the crown-rump length; None without a volume.
        paper: size of the sheets that it is printed on.
        number: which fetus of the volume it is of, from 1.
        fetuses: the reports of all fetuses in the volume, in their order; empty if there is one.
        chorionicity: of several fetuses, as the examiner tells it; empty if it is not told or withheld.
        identifiers_left_out: whether patient, study, reader, day and name of the volume are withheld.
    """

    pose: Pose
    created: datetime
    name: str = ""
    formula: str = FORMULAS[0]
    states: Sequence[PointState] = ()
    edits: Sequence[Edit] = ()
    model: str = ""
    device: str = ""
    warnings: Sequence[str] = ()
    model_card: str = ""
    operator: str = ""
    institution: str = ""
    comment: str = ""
    study: Study | None = None
    frame_of_reference: str = ""
    dates: KnownDates | None = None
    pictures: Sequence[Picture] = ()
    crl_image: str = ""
    earlier: EarlierExamination | None = None
    sections: HeadAndAbdomen | None = None
    nuchal: Nuchal | None = None
    crl_view: CrlView | None = None
    paper: Paper = "a4"
    number: int = 1
    fetuses: Sequence[Report] = ()
    chorionicity: str = ""
    identifiers_left_out: bool = False

    @cached_property
    def measurements(self) -> Measurements:
        """Everything derived from the pose.

        Raises:
            InputError: an unknown dating formula.
        """
        return measurements(self.pose, self.formula)

    @cached_property
    def crl_quality(self) -> tuple[Check, ...]:
        """The criteria of the image of the crown-rump length."""
        return crl_quality(self.pose, self.crl_view)

    @property
    def sizes(self) -> tuple[SectionSize, ...]:
        """HC, BPD, OFD and AC, measured or not, and the nuchal translucency where somebody measured it."""
        sizes = () if self.sections is None else self.sections.sizes
        return sizes if self.nuchal is None else (*sizes, self.nuchal.size)

    @cached_property
    def head_age(self) -> Dating | None:
        """The age by the head circumference; None if it was not measured."""
        sizes = () if self.sections is None else self.sections.head.sizes
        found = next((size for size in sizes if size.key == "hc" and size.measured), None)
        return None if found is None else age_by_head(found.value_mm, found.uncertainty_mm)

    @cached_property
    def growth(self) -> tuple[Growth, ...]:
        """Since the earlier examination; empty without one."""
        if self.earlier is None or self.dates is None:
            return ()
        between = (self.dates.examined - self.earlier.day).days
        return growth(self.earlier.sizes, sizes_of(self.measurements, self.sections), between, self.days)

    @property
    def days(self) -> float:
        """The gestational age that counts, in days; NaN if it is unknown."""
        if self.date_decision is not None:
            return self.date_decision.days
        found = self.measurements
        head = self.head_age if measured_by_head(found.crl.value_mm, self.head_age) else None
        return found.dating.days if head is None else head.days

    @cached_property
    def date_decision(self) -> DateDecision | None:
        """Which date decides and when birth is due; None if not even the day of the examination is known."""
        if self.dates is None:
            return None
        found = self.measurements
        return decide_dates(self.dates, found.dating, found.crl.value_mm, self.head_age)

    @cached_property
    def _study_and_remarks(self) -> tuple[Study | None, tuple[str, ...]]:
        return (None, ()) if self.study is None else checked_study(self.study, self.created)

    @property
    def reported_study(self) -> Study | None:
        """Patient and study with values that DICOM and FHIR accept."""
        return self._study_and_remarks[0]

    @property
    def remarks(self) -> tuple[str, ...]:
        """Warnings of the engine, and the values that the report omits because they cannot be right."""
        read = self.study.remarks if self.study is not None else ()
        unchecked = "" if self.earlier is None else unchecked_patient(self.earlier, self.study)
        told = (*self.warnings, *read, *self._study_and_remarks[1], unchecked)
        return tuple(dict.fromkeys(filter(None, told)))

    @property
    def doubt(self) -> str:
        """Why it is doubtful whether this is a fetus; empty if it is not."""
        return self.pose.doubt

    @property
    def fetus_name(self) -> str:
        """Which fetus of several it is of, e.g. ``Fetus 2 of 2``; empty if the volume shows one."""
        return f"Fetus {self.number} of {len(self.fetuses)}" if len(self.fetuses) > 1 else ""

    @property
    def day(self) -> datetime:
        """When the report was created; without identifiers only the year, as the day may be that of the examination."""
        if not self.identifiers_left_out:
            return self.created
        return datetime(self.created.year, 1, 1, tzinfo=timezone.utc)

    @property
    def edited(self) -> int:
        """Number of landmarks that a person set or confirmed."""
        return sum(state in VOUCHED_STATES for state in self.states)

    def is_by_hand(self, length: Measurement) -> bool:
        """Whether a person set or confirmed all landmarks that a length lies between."""
        return bool(self.states) and all(self.states[row] in VOUCHED_STATES for row in length.rows)

    def without_identifiers(self) -> Report:
        """The same report without patient, study, reader, place, comment, day and name of the volume."""
        return replace(
            self,
            name="",
            edits=without_identity(self.edits),
            operator="",
            institution="",
            comment="",
            chorionicity="",
            study=None,
            frame_of_reference="",
            dates=None,
            earlier=None,
            identifiers_left_out=True,
        )


def sizes_of(found: Measurements, sections: HeadAndAbdomen | None) -> dict[str, Size]:
    """Every size of one examination that was measured, by its key."""
    sizes = {one.key: Size(one.value_mm, one.uncertainty_mm) for one in found.lengths if math.isfinite(one.value_mm)}
    measured = () if sections is None else (size for size in sections.sizes if size.measured)
    return sizes | {size.key: Size(size.value_mm, size.uncertainty_mm) for size in measured}
