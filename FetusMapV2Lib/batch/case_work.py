"""What is done with one case of a batch: read, estimate, write, and sum up in a record; an error is a record too.

Heavy libraries are imported where they are needed: a process that hands out cases needs none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from FetusMapV2Lib.batch.cases import BatchCase
from FetusMapV2Lib.core.atomic_files import usable_folder
from FetusMapV2Lib.core.faults import as_user_error
from FetusMapV2Lib.core.progress import OnProgress
from FetusMapV2Lib.core.version import SOFTWARE
from FetusMapV2Lib.estimation.detection import MODELS_RULE, PresenceRule
from FetusMapV2Lib.estimation.estimate import RefineMode
from FetusMapV2Lib.exporting.options import RESULT_KINDS, ExportOptions, Kind

if TYPE_CHECKING:
    from FetusMapV2Lib.estimation.estimate import Estimate
    from FetusMapV2Lib.estimation.requests import Engine
    from FetusMapV2Lib.imaging.volume import Volume

THUMBNAILS = "thumbnails"


@dataclass(frozen=True)
class BatchSettings:
    """What is done with every case; plain values, so that it can be sent to another process.

    Attributes:
        output: folder for the results.
        model: name or path of a model, None = the default one.
        device: "auto", "cpu", "cuda" or "cuda:N".
        memory_budget: bytes for the network, None = no limit.
        refine: "off", "prior" or "full".
        presence: from which score a fetus counts as found.
        kinds: files to write of each case.
        identifiers, shared, overwrite: see `ExportOptions`.
        kretz_handedness: see `read_volume`.
        threads: of one process on the CPU, 0 = as many as there are cores.
    """

    output: Path
    model: str | None = None
    device: str = "auto"
    memory_budget: int | None = None
    refine: RefineMode = "off"
    presence: PresenceRule = MODELS_RULE
    kinds: Sequence[Kind] = field(default=RESULT_KINDS)
    identifiers: bool = True
    shared: bool = False
    overwrite: bool = False
    kretz_handedness: str = "slicerheart"
    threads: int = 0

    def options(self, case: BatchCase) -> ExportOptions:
        """Of the export of a case."""
        return ExportOptions(
            self.kinds,
            stem=case.name,
            overwrite=self.overwrite,
            shared=self.shared,
            identifiers=self.identifiers,
            source=case.path,
        )

    def folder(self, case: BatchCase) -> Path:
        """For the results of a case."""
        return self.output / case.folder if case.folder else self.output


def is_finished(case: BatchCase, settings: BatchSettings) -> bool:
    """Whether the results of a case are there, whole, of this very file.

    Raises:
        OutputError: the folder of results cannot be written.
    """
    from FetusMapV2Lib.core.manifests import read_manifest, source_fingerprint
    from FetusMapV2Lib.core.publishing import is_complete
    from FetusMapV2Lib.exporting.case_export import export_paths
    from FetusMapV2Lib.exporting.case_files import is_of_other_fetus

    folder = settings.folder(case)
    manifest = read_manifest(folder, case.name)
    if manifest is None or manifest.source not in ("", source_fingerprint(case.path)):
        return False
    landmark_files = [name for name in manifest.expected if name.endswith(".mrk.json")]
    frames = sum(not is_of_other_fetus(name) for name in landmark_files) or 1
    expected = [path.name for path in export_paths(folder, case.name, settings.options(case), frames)]
    return is_complete(folder, case.name, expected)


def process_case(
    case: BatchCase, settings: BatchSettings, engine: Engine, on_progress: OnProgress, *, thumbnail: bool = False
) -> dict[str, Any]:
    """Estimate a case and write its results.

    Args:
        case: to process.
        settings: of the batch.
        engine: that estimates.
        on_progress: called with the fraction done and the stage.
        thumbnail: make a thumbnail even if nobody has to look at the case.

    Returns:
        Its record for the journal, see `Journal`: outcome, problem, and a row of the table (`rows.COLUMNS`).
    """
    record: dict[str, Any] = {"case": case.key, "outcome": "refused", "row": {"software": SOFTWARE}}
    if settings.identifiers:
        record["row"]["file"] = str(case.path)
    try:
        on_progress(0.0, "reading")
        return record | _estimated(case, settings, engine, on_progress, record["row"], thumbnail)
    except Exception as error:  # whatever a case does, the others are still processed
        shown = as_user_error(error, case.path if settings.identifiers else case.name)
        return record | {"problem": shown.line() if settings.identifiers else shown.problem}


def _estimated(
    case: BatchCase,
    settings: BatchSettings,
    engine: Engine,
    on_progress: OnProgress,
    row: dict[str, Any],
    thumbnail: bool,
) -> dict[str, Any]:
    from FetusMapV2Lib.batch.rows import row_of, row_of_sequence
    from FetusMapV2Lib.batch.thumbnails import write_thumbnail
    from FetusMapV2Lib.estimation.requests import EstimateRequest
    from FetusMapV2Lib.exporting import export
    from FetusMapV2Lib.imaging.reading import read_sequence

    frames = read_sequence(
        case.path,
        spacing=case.spacing_mm,
        mirrored=case.mirrored,
        kretz_handedness=settings.kretz_handedness,  # type: ignore[arg-type]  # checked by the reader
    )
    if len(frames) > 1:
        estimates = _estimate_sequence(case, settings, engine, frames, on_progress)
        outcome, problem = _outcome_of_sequence(estimates)
        return {"outcome": outcome, "problem": problem, "row": row | row_of_sequence(estimates)}
    volume = frames[0]
    estimate = engine.submit(
        EstimateRequest(volume, refine=settings.refine, presence=settings.presence), on_progress
    ).result()
    on_progress(0.95, "writing")
    export(estimate, volume, settings.folder(case), settings.options(case))
    if thumbnail or estimate.status != "found":
        folder = usable_folder(settings.output / THUMBNAILS / case.folder, private=not settings.shared)
        write_thumbnail(folder / f"{case.name}.png", volume, estimate.pose, private=not settings.shared)
    return {"outcome": estimate.status, "row": row | row_of(estimate)}


def _estimate_sequence(
    case: BatchCase, settings: BatchSettings, engine: Engine, frames: Sequence[Volume], on_progress: OnProgress
) -> list[Estimate]:
    from FetusMapV2Lib.estimation.sequence import estimate_sequence
    from FetusMapV2Lib.exporting import export_sequence

    estimates = estimate_sequence(
        engine, frames, refine=settings.refine, presence=settings.presence, on_progress=on_progress
    )
    options = settings.options(case)
    options = replace(options, kinds=[kind for kind in options.kinds if kind != "picture"])
    export_sequence(estimates, frames, settings.folder(case), options)
    return list(estimates)


def _outcome_of_sequence(estimates: Sequence[Estimate]) -> tuple[str, str]:
    unreadable = sum(estimate.status == "unreadable" for estimate in estimates)
    if unreadable:
        return "refused", f"{unreadable} of {len(estimates)} frames cannot be used; the results of the others are there"
    statuses = {estimate.status for estimate in estimates}
    return next(status for status in ("found", "doubtful", "none") if status in statuses), ""
