"""The nuchal translucency on the page: what is shown of it, its steps, and their buttons."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from trame.widgets import html
from trame.widgets import vuetify3 as v3

from FetusMapV2Lib.anatomy.measurements import measurements
from FetusMapV2Lib.anatomy.nuchal import nuchal_view
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.presenting.nuchal_line import nuchal_line
from FetusMapV2Lib.presenting.translation import translator
from FetusMapV2Lib.scene.section_editing import remove_nuchal_try, start_nuchal_try
from FetusMapV2Lib.scene.slice_turning import turn_slice
from FetusMapV2Lib.serving.open_case import OpenCase

_ = translator(__name__)

#: The view that is magnified: it shows the midsagittal plane.
_VIEW = "Yellow"


def nuchal_shown(case: OpenCase | None) -> dict[str, Any]:
    """The line of the nuchal translucency with its tone, and which steps are possible."""
    poses = None if case is None else case.poses
    if poses is None:
        line, tries = nuchal_line(None, math.nan, is_open=False), 0
    else:
        crl = measurements(poses.pose()).crl.value_mm
        line = nuchal_line(poses.sections.nuchal_at(crl), crl, is_open=poses.sections.is_try_open)
        tries = len(poses.sections.by_hand.nuchal)
    return {
        "nuchal_text": f"{line.tone.value} {line.text}",
        "nuchal_tone": line.tone.name.lower(),
        "nuchal_tip": line.tip,
        "nuchal_allowed": line.allowed,
        "nuchal_tries": tries,
    }


def magnify_neck(case: OpenCase) -> None:
    """Show the midsagittal plane with head and upper thorax in three quarters of its view.

    Raises:
        InputError: there is no such plane.
    """
    if case.poses is None:
        return
    view = case.views.views[_VIEW]
    cut = nuchal_view(case.poses.pose(), view.size[0] / max(view.size[1], 1))
    if cut is None:
        raise InputError("there is no midsagittal plane: too few landmarks", remedy="Place the missing ones")
    turn_slice(view.node, cut)


def start_try(case: OpenCase) -> None:
    """Show callipers behind the neck, in the magnified view, to be dragged to the edges of the fluid.

    Raises:
        InputError: the neck or the midsagittal plane is missing.
    """
    magnify_neck(case)
    if case.poses is not None and not start_nuchal_try(case.poses):
        raise InputError("the neck is missing", remedy="Place its landmark first")


def remove_try(case: OpenCase) -> None:
    """Remove the last try."""
    if case.poses is not None:
        remove_nuchal_try(case.poses)


_STEPS: dict[str, Callable[[OpenCase], None]] = {"magnify": magnify_neck, "try": start_try, "remove": remove_try}


def take_nuchal_step(case: OpenCase, name: str) -> None:
    """Take the step "magnify", "try" or "remove"; nothing for another name.

    Raises:
        InputError: it cannot be taken.
    """
    if name in _STEPS:
        _STEPS[name](case)


def build_nuchal_part(small: dict[str, Any]) -> None:
    """Heading, line and buttons.

    Args:
        small: options of a button.
    """
    html.H2(_("Nuchal translucency"))
    html.Div("{{ nuchal_text }}", classes=("['fm-nuchal', nuchal_tone]",), title=("nuchal_tip",))
    with html.Div(classes="fm-row"):
        v3.VBtn(
            _("New try"),
            title=_(
                "Two callipers in a magnified midsagittal view: drag them to the edges of the fluid behind the neck"
            ),
            click="trigger('nuchal', ['try'])",
            disabled=("!nuchal_allowed",),
            **small,
        )
        v3.VBtn(_("Remove last try"), click="trigger('nuchal', ['remove'])", disabled=("!nuchal_tries",), **small)
        v3.VBtn(_("Magnified view"), click="trigger('nuchal', ['magnify'])", **small)
