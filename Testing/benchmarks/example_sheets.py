"""Reports of three simulated patients for the documents: one with an earlier examination, twins, one above 84 mm.

    .venv/bin/python Testing/benchmarks/example_sheets.py [--only single] [--output docs/examples]

Each is simulated, estimated by the default model and printed as PDF. With `pip install pypdfium2` the first sheet of
each becomes a picture, too, as that library shows it.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import tempfile
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from FetusMapV2Lib.anatomy.known_dates import KnownDates
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.exporting import ExportOptions, export
from FetusMapV2Lib.imaging.study import Study
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.phantom.scene_options import SceneOptions
from FetusMapV2Lib.phantom.simulated_case import simulate_case
from FetusMapV2Lib.reporting.earlier import read_earlier

SEED = 20301
SHAPE, SPACING_MM = (276, 188, 187), 0.5
EXAMINED = date(2026, 3, 2)
#: Of the bodies, so that they stay the same patients.
ANATOMY = "2026-2"
#: Pixels of a picture per point of the sheet.
FINENESS = 1.6


@dataclass(frozen=True)
class Patient:
    """One simulated patient.

    Attributes:
        name: of the files.
        index: which simulated fetus.
        days: gestational age.
        shows: see `SceneOptions`.
        earlier_days: age at an earlier examination; 0 = none.
        knows_period: whether the last period is known.
        comment: of the examiner.
        chorionicity: of twins, as the examiner tells it.
    """

    name: str
    index: int
    days: int
    shows: str = "fetus"
    earlier_days: int = 0
    knows_period: bool = True
    comment: str = ""
    chorionicity: str = ""

    @property
    def study(self) -> Study:
        """Who it is; nobody."""
        return Study(
            patient_name=f"Simulated^{self.name.capitalize()}",
            patient_id=f"SIM-{self.index}",
            birth_date="19950517",
            sex="F",
            date=f"{EXAMINED:%Y%m%d}",
            description="First-trimester scan",
        )

    def dates(self, examined: date) -> KnownDates:
        """What is known at an examination."""
        period = EXAMINED - timedelta(days=self.days) if self.knows_period else None
        return KnownDates(examined, last_period=period)


PATIENTS = (
    Patient("single", 3, 86, earlier_days=72, comment="Simulated volume. Anterior placenta, normal amount of fluid."),
    Patient("twins", 5, 80, shows="twins", comment="Simulated volume.", chorionicity="dichorionic diamniotic"),
    Patient("long", 18, 105, knows_period=False, comment="Simulated volume of more than 84 mm."),
)


def main() -> None:
    """Simulate, estimate and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=[patient.name for patient in PATIENTS])
    parser.add_argument("--output", type=Path, default=Path("docs/examples"))
    arguments = parser.parse_args()
    engine = PoseEngine.load()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for patient in PATIENTS:
        if arguments.only in (None, patient.name):
            _write(patient, engine, arguments.output)


def _write(patient: Patient, engine: PoseEngine, output: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        earlier = None
        if patient.earlier_days:
            then = EXAMINED - timedelta(days=patient.days - patient.earlier_days)
            estimate, volume = _examined(patient, patient.earlier_days, engine)
            options = ExportOptions(("json",), stem="then", study=patient.study, dates=patient.dates(then))
            earlier = read_earlier(export(estimate, volume, Path(folder), options)["json"])
        estimate, volume = _examined(patient, patient.days, engine)
        options = ExportOptions(
            ("pdf",),
            stem=patient.name,
            study=patient.study,
            dates=patient.dates(EXAMINED),
            operator="Dr. Example",
            institution="Simulated Hospital",
            comment=patient.comment,
            chorionicity=patient.chorionicity,
            earlier=earlier,
            pictures=(),
        )
        export(estimate, volume, Path(folder), options)
        for pdf in sorted(Path(folder).glob("*.pdf")):
            print(shutil.copyfile(pdf, output / pdf.name))
            _draw(output / pdf.name)


def _examined(patient: Patient, days: int, engine: PoseEngine) -> tuple[Estimate, Volume]:
    case = simulate_case(
        SEED,
        patient.index,
        SHAPE,
        SPACING_MM,
        style="held-out",
        scene=SceneOptions(patient.shows, ANATOMY),
        gestational_age_days=days,
    )
    estimate = engine.estimate(case.volume)
    print(patient.name, days, "days:", estimate.status, f"true CRL {case.truth['crl_mm']:.1f} mm")
    return estimate, case.volume.with_(name=f"{patient.name}, {days} days")


def _draw(pdf: Path) -> None:
    """The first sheet as a picture, where PDFium is installed."""
    if importlib.util.find_spec("pypdfium2") is None:
        return
    import pypdfium2

    with pypdfium2.PdfDocument(pdf) as document:
        picture = document[0].render(scale=FINENESS, rev_byteorder=True).to_pil().convert("RGB")
    picture.save(pdf.with_suffix("").with_suffix(".png"), optimize=True)


if __name__ == "__main__":
    main()
