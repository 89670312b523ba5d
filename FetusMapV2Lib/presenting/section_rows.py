"""Head and abdomen as rows of text: sizes, where they lie on charts, and whether they were found or set by hand."""

from __future__ import annotations

from FetusMapV2Lib.anatomy.body_sections import BodySection, HeadAndAbdomen, SectionSize
from FetusMapV2Lib.anatomy.growth_charts import ChartPlace
from FetusMapV2Lib.presenting.measurement_rows import MeasurementRow
from FetusMapV2Lib.presenting.translation import translator

_ = translator(__name__)


def section_rows(shown: HeadAndAbdomen | None, days: float) -> list[MeasurementRow]:
    """HC, BPD, OFD and AC; none before anything was looked for.

    Args:
        shown: the outlines.
        days: gestational age; NaN if it is unknown.
    """
    sections = () if shown is None else shown.sections
    return [_row(section, size, days) for section in sections for size in section.sizes]


def section_reasons(shown: HeadAndAbdomen | None) -> str:
    """Why an outline was not found, a line each; empty if both are there."""
    names = {"head": _("Head"), "abdomen": _("Abdomen")}
    sections = () if shown is None else shown.sections
    missing = (section for section in sections if section.ellipse is None)
    return "\n".join(f"{names[section.key]}: {section.reason}." for section in missing)


def _row(section: BodySection, size: SectionSize, days: float) -> MeasurementRow:
    names = {
        "hc": _("HC"),
        "bpd": _("BPD"),
        "ofd": _("OFD"),
        "ac": _("AC"),
    }
    tip = f"{size.name}: {size.note}."
    if not size.measured:
        return MeasurementRow(names[size.key], remark=_("not seen"), tip=tip)
    value = f"{size.value_mm:.1f}" + ("" if size.uncertainty_mm is None else f" ± {size.uncertainty_mm:.1f}") + " mm"
    state = _("set by hand") if section.by_hand else _("found")
    places = size.places(days)
    tip = "\n".join((tip, *map(_place_text, places)))
    if not places:
        return MeasurementRow(names[size.key], value, state, tip)
    remark = _("centile {0:.0f}, {1}").format(places[0].centile, state)
    outside = not places[0].low_mm <= size.value_mm <= places[0].high_mm
    return MeasurementRow(names[size.key], value, remark, tip, outside)


def _place_text(place: ChartPlace) -> str:
    text = _("{0}: centile {1:.0f}; 5th to 95th {2:.1f} to {3:.1f} mm. {4}")
    return text.format(place.chart, place.centile, place.low_mm, place.high_mm, place.source)
