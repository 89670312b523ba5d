"""The translations of the panel: complete, with the same fields, and a panel in German that works."""

from __future__ import annotations

import re
import string
import subprocess
import sys
from pathlib import Path

import pytest

from FetusMapV2Lib.presenting.translation import finished_translations

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Testing" / "packaging"))

import update_translations  # noqa: E402

FILES = sorted(update_translations.TRANSLATIONS.glob("FetusMapV2_*.ts"))
GERMAN = update_translations.TRANSLATIONS / "FetusMapV2_de.ts"
#: Letters that open menus of Slicer with Alt: Datei, Bearbeiten, Ansicht, Hilfe; and the English ones.
MENUS = "DBAH" + "FEVH"


def fields(text: str) -> list[str]:
    return sorted(f"{name}:{spec}" for _text, name, spec, _conversion in string.Formatter().parse(text) if name)


def mnemonics(text: str) -> list[str]:
    return [letter.upper() for letter in re.findall(r"&(\w)", text.replace("&&", ""))]


def test_the_files_hold_the_texts_of_the_code():
    command = [sys.executable, update_translations.__file__, "--check"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, f"{found.stdout}: run `make translations`"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_translations_have_the_fields_and_keys_of_their_texts(path):
    known = finished_translations(path)
    assert [pair for pair in known.items() if fields(pair[0][1]) != fields(pair[1])] == []
    wrong = [pair for pair in known.items() if len(mnemonics(pair[0][1])) != len(mnemonics(pair[1]))]
    assert wrong == []
    letters = [letter for text in known.values() for letter in mnemonics(text)]
    assert sorted(letters) == sorted(set(letters) - set(MENUS))


def test_german_is_complete():
    wanted = {(context, text) for context, texts in update_translations.texts().items() for text in texts}
    assert wanted - finished_translations(GERMAN).keys() == set()
    assert len(wanted) > 350


def test_texts_of_code_and_ui_files_are_found():
    texts = update_translations.texts()
    assert "Cancelled; the scene is as it was." in texts["FetusMapV2Panel.state"]
    assert "No fetus found" in texts["presenting.linked_line"]
    assert "E&stimate pose" in texts["FetusMapV2Estimate"]
    assert not any("vtkMRML" in text for of_context in texts.values() for text in of_context)


def test_a_new_text_is_unfinished_and_an_unused_one_is_dropped():
    made = update_translations.written("de", {"a": ["x & y", "new"]}, {("a", "x & y"): "x < y", ("a", "old"): "alt"})
    assert "<source>x &amp; y</source>\n        <translation>x &lt; y</translation>" in made
    assert '<source>new</source>\n        <translation type="unfinished"></translation>' in made
    assert "alt" not in made


def test_the_panel_works_in_german(application, scene, main_window):
    from bench.language import language
    from FetusMapV2Panel import selftest

    with language(GERMAN) as german:
        selftest.addVolume(scene)
        main_window.load(
            ROOT / "FetusMapV2" / "FetusMapV2.py", lambda python: python.FetusMapV2Logic(selftest.EngineStandIn)
        )
        try:
            ui = main_window.module_widget.ui
            assert ui.estimateButton.text == "Pose &schätzen" and ui.cancelButton.text == "Abbrechen"
            main_window.click(ui.estimateButton)
            assert ui.resultsTable.item(0, 0).text() == "Scheitel-Steiß-Länge"
            assert ui.landmarksTree.topLevelItem(0).text(0) == "Kopf und Rumpf"
            assert ui.keysLabel.text == "Tasten: wirken auf die ausgewählten Landmarken."
            main_window.module_widget.state.run(lambda *_given: 1 / 0)
            assert ui.messageLabel.text.startswith("Etwas ist schiefgegangen: division by zero.")
            assert {pair for pair in german.missing if not pair[0].startswith("qSlicer")} == set()
        finally:
            main_window.unload()
