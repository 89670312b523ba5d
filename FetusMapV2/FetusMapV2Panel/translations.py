"""Sets Slicer's language for the texts of the panel; Slicer's own `tr` searches files with every call."""

from __future__ import annotations

from slicer.i18n import translate

from FetusMapV2Lib.presenting.translation import translator, use_translations

__all__ = ["translator"]

use_translations(translate)
