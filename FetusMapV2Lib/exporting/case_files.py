"""The files of one case, one function per kind; its report is assembled once for all of them."""

from __future__ import annotations

import functools
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from FetusMapV2Lib.anatomy.body_sections import HeadAndAbdomen
from FetusMapV2Lib.anatomy.crl_quality import CrlView, crl_quality
from FetusMapV2Lib.anatomy.known_dates import KnownDates
from FetusMapV2Lib.anatomy.measurements import measurements
from FetusMapV2Lib.core.atomic_files import write_json, write_text
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.exporting.examination_document import examination_document
from FetusMapV2Lib.exporting.model_card import model_card
from FetusMapV2Lib.exporting.options import SUFFIXES, ByHand, ExportOptions, Kind
from FetusMapV2Lib.exporting.result_document import landmark_notes, measurements_csv, results_document
from FetusMapV2Lib.imaging.edit_log import edits_to_json
from FetusMapV2Lib.imaging.head_abdomen import measure_head_and_abdomen
from FetusMapV2Lib.imaging.markups import write_markups
from FetusMapV2Lib.imaging.study import Study, day_of, read_study
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.reporting.crl_picture import crl_picture
from FetusMapV2Lib.reporting.crl_view import crl_view
from FetusMapV2Lib.reporting.earlier import ensure_earlier
from FetusMapV2Lib.reporting.report import Picture, Report

#: A shorter name may be a word of a sentence, and identifies nobody.
_SHORTEST_NAME = 3
#: Between the stem of a case and the number of a fetus that is not the first.
_OTHER = ".fetus-"


@dataclass(frozen=True, eq=False)
class CaseFiles:
    """What is written of one estimate.

    Attributes:
        estimate: the estimate.
        volume: that it was computed from; None if it is not available.
        stem: the beginning of the file names.
        options: of the export.
        number: which fetus of the volume it is, from 1.
        count: how many fetuses the volume shows.
        fetuses: their cases in their order, without this field; empty if there is one.
        own_frame: UID of a frame of reference for the points of all fetuses, where that of the images is not theirs.
    """

    estimate: Estimate
    volume: Volume | None
    stem: str
    options: ExportOptions
    number: int = 1
    count: int = 1
    fetuses: tuple[CaseFiles, ...] = ()
    own_frame: str = field(default_factory=lambda: f"2.25.{uuid.uuid4().int}")

    def each_fetus(self) -> tuple[CaseFiles, ...]:
        """The case of each fetus that the volume shows, this one first; those of the others have names of their own.

        Given pictures and an earlier examination are of the chosen one alone; the scene has all of them.
        """
        shown = self.estimate.fetuses
        if len(shown) < 2:
            return (self,)
        count = len(shown)
        every = [replace(self, options=self._options_of(1), count=count)]
        for number, one in enumerate(shown[1:], start=2):
            own = self._options_of(number), fetus_stem(self.stem, number)
            every.append(replace(self, estimate=one, options=own[0], stem=own[1], number=number, count=count))
        return tuple(replace(one, fetuses=tuple(every)) for one in every)

    def _options_of(self, number: int) -> ExportOptions:
        """The options for one fetus of several."""
        options = self.options
        if number != options.chosen:
            options = replace(options, pictures=None, earlier=None)
        if number == 1:
            return options
        kinds = [kind for kind in options.kinds if kind != "scene"]
        hand = dict(enumerate(options.others, start=2)).get(number, ByHand())
        return replace(
            options, kinds=kinds, states=hand.states, sections=hand.sections, nuchal=hand.nuchal, edits=hand.edits
        )

    def anonymous(self) -> CaseFiles:
        """The case with its stem in place of the names of the volume and of its source file."""
        estimate, source = self.estimate, self.options.source
        if source is not None:
            estimate = without_file_name(estimate, source, self.stem)
        volume = None if self.volume is None else self.volume.with_(name=self.stem, source="")
        return replace(self, estimate=estimate, volume=volume, options=replace(self.options, source=None, study=None))

    def ensure_comparable(self) -> None:
        """Refuse an earlier examination of another patient, of no earlier day, or of a fetus that is not shown.

        Raises:
            InputError: see `reporting.earlier.ensure_earlier`.
        """
        if self.options.earlier is not None and self.options.identifiers:
            shown, chosen = len(self.estimate.fetuses), self.options.chosen
            if shown and chosen > shown:
                problem = (
                    f"the earlier examination is of fetus {chosen}, but {shown} {'is' if shown == 1 else 'are'} seen"
                )
                raise InputError(problem, where=self.stem, remedy="Compare it with a fetus that is seen")
            examined = None if self.dates is None else self.dates.examined
            ensure_earlier(self.options.earlier, self._study, examined)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds that there is something to write for: without a fetus, the JSON that says so."""
        return tuple(kind for kind in self.options.kinds if self.estimate.has_pose or kind == "json")

    def write(self, folder: Path) -> None:
        """Write the files into a folder from which they are published.

        Raises:
            UserError: a file cannot be written.
        """
        for kind in self.kinds:
            _WRITERS[kind](self, folder / f"{self.stem}{SUFFIXES[kind]}")
        remark = self.options.on_remark
        if remark is not None and "report" in self.__dict__:
            for text in self.report.remarks[len(self.estimate.warnings) :]:
                remark(f"{self.stem}: {text}")

    @cached_property
    def report(self) -> Report:
        """The report of the case, with its pictures."""
        fetuses = [one.record for one in self.fetuses]
        return replace(
            self.record, fetuses=fetuses, pictures=self._pictures, crl_image=self._crl_image, crl_view=self.crl_view
        )

    @cached_property
    def record(self) -> Report:
        """The report of the case without what is drawn or read off the image."""
        options, estimate = self.options, self.estimate
        report = Report(
            pose=estimate.pose,
            created=datetime.now().astimezone(),
            name="" if self.volume is None else self.volume.name,
            formula=options.dating,
            states=options.states,
            edits=options.edits,
            model=estimate.model,
            model_card=model_card(estimate.model),
            device=estimate.device,
            warnings=estimate.warnings,
            operator=options.operator,
            institution=options.institution,
            comment=options.comment,
            chorionicity=options.chorionicity,
            number=self.number,
            earlier=options.earlier,
            study=self._study,
            frame_of_reference=self._frame_of_reference,
            dates=self.dates,
            sections=self.sections,
            nuchal=options.nuchal,
            paper=options.paper,
        )
        if options.identifiers:
            return report
        return replace(report.without_identifiers(), frame_of_reference=self.own_frame)

    @cached_property
    def crl_view(self) -> CrlView | None:
        """What the volume tells of the image of the crown-rump length; None without a volume or a fetus."""
        if self.volume is None or not self.estimate.has_pose:
            return None
        return crl_view(self.volume, self.estimate.pose)

    @cached_property
    def sections(self) -> HeadAndAbdomen | None:
        """Head and abdomen set by hand or measured in the volume; None without a fetus, or without either."""
        by_hand = self.options.sections
        if not self.estimate.has_pose or (self.volume is None and not by_hand):
            return None
        if self.volume is None:
            found = HeadAndAbdomen.unknown("the volume is not available")
        else:
            found = measure_head_and_abdomen(self.volume, self.estimate.pose)
        return functools.reduce(HeadAndAbdomen.with_section, by_hand, found)

    @property
    def _crl_image(self) -> str:
        if self.volume is None:
            return ""
        return crl_picture(self.volume, self.estimate.pose, measurements(self.estimate.pose).crl)

    @cached_property
    def dates(self) -> KnownDates | None:
        """Of the pregnancy; without given ones the day of the study, if that is known; None without identifiers."""
        if not self.options.identifiers:
            return None
        if self.options.dates is not None:
            return self.options.dates
        examined = day_of(self._study)
        return None if examined is None else KnownDates(examined)

    @cached_property
    def _study(self) -> Study | None:
        if self.options.study is not None or self.options.source is None:
            return self.options.study
        return read_study(self.options.source)

    @property
    def _frame_of_reference(self) -> str:
        space = None if self._study is None else self._study.space
        if space is None or self.volume is None or not space.holds(self.volume):
            return self.own_frame
        return space.uid

    @property
    def _pictures(self) -> list[Picture]:
        if self.options.pictures is not None:
            return list(self.options.pictures)
        if self.volume is None or not self.options.shows_pictures:
            return []
        from FetusMapV2Lib.scene.picture import view_pictures

        views = view_pictures(self.volume, self.estimate.pose)
        return [Picture(title, png) for title, png in views]


def fetus_stem(stem: str, number: int) -> str:
    """The beginning of the file names of a fetus, from the stem of its case; that of the first is the stem itself."""
    return stem if number == 1 else f"{stem}{_OTHER}{number}"


def is_of_other_fetus(file: str) -> bool:
    """Whether a file of an export, by its name, is of another fetus than the first."""
    return re.search(rf"{re.escape(_OTHER)}\d+(\.|$)", file) is not None


def without_file_name(estimate: Estimate, source: Path, name: str) -> Estimate:
    """The estimate with `name` in place of the name of the source file in its reason and warnings."""

    def neutral(text: str) -> str:
        for known in (str(source.absolute()), str(source), source.name):
            text = text.replace(known, name)
        stem = source.name.split(".")[0]
        if len(stem) >= _SHORTEST_NAME:
            text = re.sub(rf"(?<!\w){re.escape(stem)}(?!\w)", name, text)
        return text

    others = tuple(without_file_name(other, source, name) for other in estimate.others)
    warnings = tuple(map(neutral, estimate.warnings))
    return replace(estimate, reason=neutral(estimate.reason), warnings=warnings, others=others)


def _write_landmarks(case: CaseFiles, path: Path) -> None:
    notes = landmark_notes(case.estimate.pose, case.estimate.model, case.options.states)
    write_markups(path, case.estimate.pose, descriptions=notes)


def _write_csv(case: CaseFiles, path: Path) -> None:
    pose = case.estimate.pose
    write_text(
        path, measurements_csv(measurements(pose), pose.doubt, crl_quality(pose, case.crl_view), case.record.sizes)
    )


def _write_json(case: CaseFiles, path: Path) -> None:
    write_json(path, _document(case))


def _document(case: CaseFiles) -> dict[str, Any]:
    document = results_document(case.estimate, case.dates, case.crl_view, case.sections, case.options.nuchal)
    if case.estimate.has_pose and case.options.identifiers:
        document["examination"] = examination_document(case.record)
    if case.record.edits:
        document["edit_log"] = edits_to_json(case.record.edits)
    # the first file has all fetuses; that of another one is whole by itself
    others = [_document(one) for one in case.fetuses if one.number > 1] if case.number == 1 else []
    if case.count > 1 and case.options.identifiers:
        document["chorionicity"] = case.options.chorionicity
    return document | {"fetus": case.number, "fetuses": case.count, "other_fetuses": others}


def _write_scene(case: CaseFiles, path: Path) -> None:
    from FetusMapV2Lib.scene.scene_writing import write_pose_scene

    others = [other.pose for other in case.estimate.fetuses[1:]]
    write_pose_scene(path, _volume_of(case, path), case.estimate.pose, others=others, edits=case.record.edits)


def _write_picture(case: CaseFiles, path: Path) -> None:
    from FetusMapV2Lib.scene.picture import write_picture

    write_picture(path, _volume_of(case, path), case.estimate.pose)


def _volume_of(case: CaseFiles, path: Path) -> Volume:
    if case.volume is None:
        raise InputError("a scene or picture needs the volume", where=path, remedy="Hand in the volume of the estimate")
    return case.volume


def _write_html(case: CaseFiles, path: Path) -> None:
    from FetusMapV2Lib.reporting.page import report_page

    write_text(path, report_page(case.report))


def _write_pdf(case: CaseFiles, path: Path) -> None:
    from FetusMapV2Lib.exporting.pdf_printing import print_with_pyside

    (case.options.print_pdf or print_with_pyside)(case.report, path)


def _write_dicom(case: CaseFiles, path: Path) -> None:
    from FetusMapV2Lib.reporting.dicom_sr import write_sr

    write_sr(path, case.report)


def _write_measurement_report(case: CaseFiles, path: Path) -> None:
    from FetusMapV2Lib.reporting.measurement_report import write_measurement_report

    write_measurement_report(path, case.report)


def _write_fhir(case: CaseFiles, path: Path) -> None:
    from FetusMapV2Lib.reporting.fhir import fhir_bundle

    write_json(path, fhir_bundle(case.report))


_WRITERS: dict[Kind, Callable[[CaseFiles, Path], None]] = {
    "landmarks": _write_landmarks,
    "csv": _write_csv,
    "json": _write_json,
    "scene": _write_scene,
    "picture": _write_picture,
    "html": _write_html,
    "pdf": _write_pdf,
    "dicom": _write_dicom,
    "dicom3d": _write_measurement_report,
    "fhir": _write_fhir,
}
