"""The languages of the page: those of the panel, by the same files; one for each tab, as its browser asks for."""

from __future__ import annotations

from FetusMapV2Lib.core.resources import translations_folder
from FetusMapV2Lib.presenting.translation import finished_translations, use_translations

ENGLISH = "en"
_PREFIX = "FetusMapV2_"


def languages() -> list[str]:
    """The codes of the languages that there are, English first."""
    folder = translations_folder()
    found = sorted(folder.glob(f"{_PREFIX}*.ts")) if folder is not None else []
    return [ENGLISH, *(path.stem.removeprefix(_PREFIX) for path in found)]


def language_for(accepted: str) -> str:
    """The language that a browser likes best of those that there are.

    Args:
        accepted: its header Accept-Language, e.g. "de-AT,de;q=0.8,en;q=0.5".
    """
    known = languages()
    wishes: list[tuple[float, str]] = []
    for wish in accepted.split(","):
        code, _, quality = wish.partition(";q=")
        try:
            wishes.append((-float(quality or 1.0), code.strip().lower().partition("-")[0]))
        except ValueError:
            continue
    wishes.sort(key=lambda wish: wish[0])
    return next((code for _, code in wishes if code in known), ENGLISH)


def use_language(language: str) -> None:
    """Let all texts of this process be in a language; to be called before they are looked up."""
    folder = translations_folder()
    if language != ENGLISH and folder is not None:
        texts = finished_translations(folder / f"{_PREFIX}{language}.ts")
        use_translations(lambda context, text: texts.get((context, text), text))
