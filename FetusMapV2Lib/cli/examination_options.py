"""What the command line says of an examination: dates of the pregnancy, an earlier examination, who examined."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from FetusMapV2Lib.core.errors import InputError

if TYPE_CHECKING:
    from FetusMapV2Lib.anatomy.known_dates import KnownDates
    from FetusMapV2Lib.reporting.earlier import EarlierExamination


@dataclass(frozen=True)
class ExaminationOptions:
    """The texts of the options, None where they are not given.

    Attributes:
        examined, last_period, conceived: dates.
        earlier_scan: a date and the age that it gave.
        earlier: result file of an earlier examination.
        comment: for the report.
        chorionicity: of several fetuses, for the report.
        earlier_fetus: number of the one of several fetuses that `earlier` is of.
    """

    examined: str | None
    last_period: str | None
    conceived: str | None
    earlier_scan: str | None
    earlier: str | None
    comment: str | None
    chorionicity: str | None = None
    earlier_fetus: int | None = None

    def checked(self, files: list[str], *, identifiers: bool) -> dict[str, Any]:
        """The arguments of `ExportOptions` that they give.

        Args:
            files: the volumes.
            identifiers: whether results may name the patient.

        Raises:
            InputError: they belong to one patient and there are several files; a date is none, or the day of the volume
                is not known; the earlier examination cannot be compared; or nothing of a patient may be written.
        """
        given = [name for name, value in self._of_one_patient.items() if value]
        if given and len(files) > 1:
            remedy = "Estimate the volume of one patient at a time"
            raise InputError("this belongs to one patient", where=", ".join(given), remedy=remedy)
        if not identifiers and (self.earlier or self.comment or self.chorionicity):
            where = " ".join(
                name for name in ("--earlier", "--comment", "--chorionicity") if self._of_one_patient[name]
            )
            remedy = "Leave one of the two out"
            raise InputError("this is of a patient", where=f"{where} --without-identifiers", remedy=remedy)
        dates = self._dates(files)
        if self.earlier_fetus is not None and not self.earlier:
            raise InputError("there is no earlier examination", where="--earlier-fetus", remedy="Add --earlier FILE")
        texts = {"comment": self.comment or "", "chorionicity": self.chorionicity or ""}
        return {"dates": dates, "earlier": self._earlier(files, dates), "chosen": self.earlier_fetus or 1, **texts}

    @property
    def _of_one_patient(self) -> dict[str, str | None]:
        return {
            "--examined": self.examined,
            "--last-period": self.last_period,
            "--conceived": self.conceived,
            "--earlier-scan": self.earlier_scan,
            "--earlier": self.earlier,
            "--comment": self.comment,
            "--chorionicity": self.chorionicity,
        }

    def _dates(self, files: list[str]) -> KnownDates | None:
        from FetusMapV2Lib.anatomy.known_dates import KnownDates, parsed_date, parsed_scan
        from FetusMapV2Lib.imaging.study import day_of, read_study

        if not any((self.examined, self.last_period, self.conceived, self.earlier_scan)):
            return None
        day = parsed_date(self.examined, "--examined") if self.examined else day_of(read_study(Path(files[0])))
        if day is None:
            raise InputError("the day of the volume is not known", where=files[0], remedy="Add --examined 2026-01-31")
        return KnownDates(
            day,
            None if self.last_period is None else parsed_date(self.last_period, "--last-period"),
            None if self.conceived is None else parsed_date(self.conceived, "--conceived"),
            None if self.earlier_scan is None else parsed_scan(self.earlier_scan, "--earlier-scan"),
        )

    def _earlier(self, files: list[str], dates: KnownDates | None) -> EarlierExamination | None:
        """Refused here, before time is spent on the estimate."""
        from FetusMapV2Lib.imaging.study import day_of, read_study
        from FetusMapV2Lib.reporting.earlier import ensure_earlier, read_earlier

        if self.earlier is None:
            return None
        earlier, study = read_earlier(self.earlier), read_study(Path(files[0]))
        ensure_earlier(earlier, study, dates.examined if dates is not None else day_of(study))
        return earlier
