"""The layout of the page: the panel on the left, the four views on the right, one above the other on a tablet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trame.ui.vuetify3 import VAppLayout
from trame.widgets import html, rca
from trame.widgets import vuetify3 as v3

from FetusMapV2Lib.anatomy.dating import FORMULAS
from FetusMapV2Lib.presenting.measurement_rows import formula_name
from FetusMapV2Lib.presenting.translation import translator
from FetusMapV2Lib.serving.archive_part import build_archive_button
from FetusMapV2Lib.serving.downloads import listed_downloads
from FetusMapV2Lib.serving.nuchal_part import build_nuchal_part
from FetusMapV2Lib.serving.view_area import ViewArea

_ = translator(__name__)

_STATIC = Path(__file__).parent / "static"


class _Module:
    """Script and style of the page, served by this process: a page loads nothing from elsewhere."""

    serve = {"fetusmap": str(_STATIC)}  # noqa: RUF012  # trame reads them from here
    scripts = ["fetusmap/page.js"]  # noqa: RUF012
    styles = ["fetusmap/page.css"]  # noqa: RUF012


_SMALL: dict[str, Any] = {"size": "small", "variant": "tonal"}


def build_page(server: Any, areas: Mapping[str, ViewArea]) -> None:
    """Build the page of a trame server, with these areas for the views."""
    server.enable_module(_Module)
    server.state.trame__title = "FetusMapV2"
    server.state.formulas = [{"title": formula_name(key), "value": key} for key in FORMULAS]
    server.state.downloads = listed_downloads()
    config = {"theme": {"defaultTheme": "system"}}
    layout = VAppLayout(server, vuetify_config=config, theme=("theme || undefined",))
    drop = f'data-drop="{_("Drop the volume here")}"'
    with layout, html.Div(classes="fm-page", raw_attrs=[drop]):
        with html.Div(classes="fm-panel"):
            _head()
            _work_list()
            _estimate()
            _frames()
            _result()
            _landmarks()
            _movement()
            _files()
        with html.Div(classes="fm-views"):
            for name, area in areas.items():
                _view(name, area)


def _js(text: str) -> str:
    """A text as a literal in an expression of the page."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _either(condition: str, yes: str, no: str) -> str:
    """One of two texts, as the state of the page is."""
    return f"{{{{ {condition} ? {_js(yes)} : {_js(no)} }}}}"


def _view(name: str, area: ViewArea) -> None:
    focus = f"trigger('focus', ['{name}', {{}}])"
    with html.Div(
        classes="fm-view",
        raw_attrs=[f'data-view="{name}"'],
        mouseenter=focus.format("true"),
        mouseleave=focus.format("false"),
    ):
        html.Span(name, classes="fm-name")
        rca.RemoteControlledArea(
            name=area.name, display="image", send_mouse_move=True, event_throttle_ms=30, style="width:100%;height:100%"
        )


def _head() -> None:
    html.Div("{{ research }}", classes="fm-research")
    with html.Div(classes="fm-row"):
        with html.Div(style="flex:1"):
            html.Div(f"{{{{ case_name || {_js(_('No volume is open'))} }}}}", classes="fm-patient")
            html.Div("{{ patient }}", v_show="patient", classes="fm-study")
        v3.VBtn(
            _("Light / dark"),
            click="theme = $event.view.getComputedStyle($event.target).colorScheme === 'dark' ? 'light' : 'dark'",
            **_SMALL,
        )


def _work_list() -> None:
    with html.Details(v_show="work_items.length", open=True):
        html.Summary(f"{_('Work list')}: {{{{ work_summary }}}}", classes="fm-work")
        with html.Div(classes="fm-list"), html.Table(classes="fm-cases"), html.Tbody(), html.Tr(
            v_for="(item, number) in work_items",
            key="item[0]",
            classes=("{case: true, selected: number === work_number}",),
            click="running || trigger('open_item', [number])",
            tabindex=0,
        ):  # fmt: skip
            html.Td("{{ item[0] }}")
            html.Td("{{ item[1] }}")
        with html.Div(classes="fm-row"):
            v3.VBtn(_("Next case"), click="trigger('next_item')", disabled=("running",), **_SMALL)
            v3.VBtn(
                _("Save training case"),
                click="trigger('save_case')",
                disabled=("running || !has_pose || work_number < 0",),
                **_SMALL,
            )


def _estimate() -> None:
    with html.Div(classes="fm-row"):
        with html.Label(classes="fm-file"):
            html.Input(type="file", multiple=True, change="utils.fetusmap.chosen($event)", disabled=("running",))
            html.Span(_("Open a volume …"), classes="fm-open")
        v3.VBtn(_("Estimate pose"), click="trigger('estimate')", disabled=("!case_name || running",), color="primary")
        v3.VBtn(_("Show what was seen"), v_show="can_show_seen && !running", click="trigger('show_seen')", **_SMALL)
    with html.Div(v_show="running"):
        v3.VProgressLinear(model_value=("fraction",), height=8, color="primary")
        with html.Div(classes="fm-row"):
            html.Span("{{ stage }}", classes="fm-small fm-stage", style="flex:1")
            v3.VBtn(_("Cancel"), click="trigger('cancel')", v_show="cancellable", **_SMALL)
    html.Div("{{ message }}", v_show="message", classes=("['fm-message', message_tone]",), role="status")


def _frames() -> None:
    """The frame of a sequence, and the movement between the poses."""
    with html.Div(v_show="frame_count > 1"):
        with html.Div(classes="fm-row"):
            v3.VBtn(
                "◀", title=_("Previous frame (,)"), click="trigger('step_frame', [-1])",
                disabled=("running || frame < 1",), **_SMALL,
            )  # fmt: skip
            html.Input(
                type="range",
                min=0,
                max=("frame_count - 1",),
                value=("frame",),
                input="trigger('show_frame', [$event.target.value])",
                disabled=("running",),
                classes="fm-frames",
                raw_attrs=[f'aria-label="{_("Frame")}"'],
            )
            v3.VBtn(
                "▶", title=_("Next frame (.)"), click="trigger('step_frame', [1])",
                disabled=("running || frame > frame_count - 2",), **_SMALL,
            )  # fmt: skip
            html.Span("{{ frame_text }}", classes="fm-frame")
        v3.VBtn(_("Estimate all frames"), click="trigger('estimate_all')", disabled=("running",), **_SMALL)


def _movement() -> None:
    with html.Div(v_show="movement_rows.length"):
        html.H2(_("Movement"))
        with (
            html.Table(classes="fm-movement"),
            html.Tbody(),
            html.Tr(
                v_for="row in movement_rows",
                key="row.name",
                title=("row.tip",),
                classes=("{strong: row.moves}",),
            ),
        ):
            for cell in ("name", "now", "whole", "periods"):
                html.Td(f"{{{{ row.{cell} }}}}")
        with html.Div(classes="fm-row"):
            v3.VBtn(_("Movement (CSV)"), href="files/movement", raw_attrs=["download"], disabled=("running",), **_SMALL)


def _result() -> None:
    with html.Div(classes=("['fm-line', line_tone]",)):
        html.Span("{{ line_sign }}", classes="fm-sign")
        with html.Template(v_for="(part, number) in line_parts", key="number"):
            html.Span(" · ", v_if="number")
            html.A(
                "{{ part.text }}",
                v_if="part.rows.length",
                title=("part.tip",),
                click="trigger('go_to_next', [part.rows])",
                classes="fm-link",
            )
            html.Span("{{ part.text }}", v_else=True, title=("part.tip",))
    with html.Div(v_show="has_pose"):
        html.H2(_("Measurements"))
        with html.Div(classes="fm-row"):
            v3.VSelect(
                v_model="formula", items=("formulas",), label=_("Dating formula"), density="compact", hide_details=True,
                variant="outlined",
            )  # fmt: skip
            v3.VBtn(
                _("Planes of the fetus"),
                title=_("Midsagittal, coronal and transverse slices"),
                click="trigger('planes', ['fetus'])",
                **_SMALL,
            )
            v3.VBtn(_("Axes of the volume"), click="trigger('planes', ['volume'])", **_SMALL)
        _table("measurement_rows", "fm-measurements")
        html.Div(_("* Between joint centres: longer than the ossified shaft that charts use."), classes="fm-small")
        _head_and_abdomen()
        build_nuchal_part(_SMALL)


def _table(rows: str, classes: str) -> None:
    """Names, values and remarks of the rows of a state variable."""
    with (
        html.Table(classes=classes),
        html.Tbody(),
        html.Tr(
            v_for=f"row in {rows}",
            key="row.name",
            title=("row.tip",),
            classes=("{strong: row.strong, doubtful: row.doubtful}",),
        ),
    ):
        html.Td("{{ row.name }}")
        html.Td("{{ row.value }}")
        html.Td("{{ row.remark }}")


def _head_and_abdomen() -> None:
    html.H2(_("Head and abdomen"))
    with html.Div(classes="fm-row"):
        v3.VBtn(
            _("Go to the head"),
            title=_("Turn the Red view to the axial plane of the head"),
            click="trigger('section', ['head'])",
            **_SMALL,
        )
        v3.VBtn(
            _("Go to the abdomen"),
            title=_("Turn the Red view to the transverse plane of the abdomen"),
            click="trigger('section', ['abdomen'])",
            **_SMALL,
        )
        v3.VBtn(
            _("Measure in this plane"),
            title=_("Measure head or abdomen in the plane that the Red view shows now: scroll it first"),
            click="trigger('shown_plane')",
            **_SMALL,
        )
        v3.VBtn(
            _("Propose again"),
            title=_("Drop the ellipses set by hand, and show those found in the volume"),
            click="trigger('propose')",
            disabled=("!sections_by_hand",),
            **_SMALL,
        )
    _table("section_rows", "fm-measurements fm-sections")
    html.Div(_("Drag a handle of an ellipse to correct it."), v_show="section_rows.length", classes="fm-small")
    html.Div("{{ section_reasons }}", v_show="section_reasons", classes="fm-small", style="white-space:pre-line")


def _landmarks() -> None:
    with html.Div(v_show="has_pose"):
        html.H2(_("Landmarks"))
        html.Div("{{ summary }}", classes="fm-small")
        with html.Div(classes="fm-row"):
            v3.VBtn(_("Undo"), title="Ctrl+Z", click="trigger('undo')", disabled=("!can_undo",), **_SMALL)
            v3.VBtn(_("Redo"), title="Ctrl+Y", click="trigger('redo')", disabled=("!can_redo",), **_SMALL)
            v3.VBtn(
                _("Next doubtful"),
                title=_("Select the next landmark of low confidence"),
                click="trigger('next_doubtful')",
                disabled=("!can.next_doubtful",),
                **_SMALL,
            )
            confirm = "trigger('step', [can.is_confirmed ? 'withdraw' : 'confirm'])"
            v3.VBtn(
                _either("can.is_confirmed", _("Withdraw"), _("Confirm")),
                click=confirm,
                disabled=("!can.confirm",),
                **_SMALL,
            )
            v3.VBtn(
                _("Missing"),
                title=_("The landmark is not visible in the volume"),
                click="trigger('step', ['missing'])",
                disabled=("!can.mark_missing",),
                **_SMALL,
            )
            v3.VBtn(
                _either("is_placing", _("Click in a view …"), _("Place")),
                click="trigger('place')",
                disabled=("!can.place && !is_placing",),
                **_SMALL,
            )
            lock = "trigger('step', [can.is_locked ? 'unlock' : 'lock'])"
            v3.VBtn(_either("can.is_locked", _("Unlock"), _("Lock")), click=lock, disabled=("!can.lock",), **_SMALL)
            v3.VBtn(_("Reset"), click="trigger('step', ['reset'])", disabled=("!can.reset",), **_SMALL)
            v3.VBtn(
                _("Refine"),
                title=_("Move the other landmarks to fit those that were set by hand"),
                click="trigger('refine')",
                disabled=("!can.refine",),
                **_SMALL,
            )
            v3.VBtn(_("Swap arms"), click="trigger('step', ['swap_arms'])", disabled=("!can.edit",), **_SMALL)
            v3.VBtn(_("Swap legs"), click="trigger('step', ['swap_legs'])", disabled=("!can.edit",), **_SMALL)
            v3.VBtn(_("Swap all sides"), click="trigger('step', ['swap_all'])", disabled=("!can.edit",), **_SMALL)
        html.Div(v_html=("definition",), classes="fm-small")
        with (
            html.Table(classes="fm-landmarks"),
            html.Tbody(),
            html.Template(v_for="line in landmark_rows", key="line.key"),
        ):
            with html.Tr(v_if="line.group", classes="group"):
                html.Td("{{ line.group }}", colspan=3)
            with html.Tr(
                v_else=True,
                title=("line.tip",),
                classes=("{landmark: true, doubtful: line.doubtful, selected: selected.includes(line.row)}",),
                click="trigger('select', [line.row, $event.ctrlKey || $event.metaKey])",
                tabindex=0,
            ):
                with html.Td():
                    html.Span(classes="fm-swatch", style=("'background:' + line.colour",))
                    html.Span("{{ line.name }}")
                html.Td("{{ line.confidence }}")
                html.Td("{{ line.state }}")


def _files() -> None:
    with html.Div(v_show="has_pose"):
        html.H2(_("Files"))
        with html.Div(classes="fm-row"):
            v3.VBtn("{{ one.title }}", v_for="one in downloads", key="one.name", href=("'files/' + one.name",),
                    raw_attrs=["download"], disabled=("running",), **_SMALL)  # fmt: skip
            build_archive_button(_SMALL)
        html.H2(_("Details"))
        with html.Table(classes="fm-details"), html.Tbody(), html.Tr(v_for="pair in details", key="pair[0]"):
            html.Td("{{ pair[0] }}")
            html.Td("{{ pair[1] }}")
