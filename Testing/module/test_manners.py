"""How the panel behaves among the rest of Slicer: its keys, its width, other modules and other kinds of volumes."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

MODULE = Path(__file__).resolve().parents[2] / "FetusMapV2"
LONG = "A name of a volume that nobody would type but that a device has put together " + 130 * "x"
#: File, Edit, View and Help, which Slicer opens with Alt and the letter.
MENUS = "FEVH"


def mnemonics(text: str) -> list[str]:
    return [letter.upper() for letter in re.findall(r"&(\w)", text.replace("&&", ""))]


# ---- keys


def test_no_two_texts_share_a_letter_and_none_is_a_menu_of_slicer():
    texts = [
        string.text or ""
        for path in MODULE.glob("Resources/UI/*.ui")
        for entry in ET.parse(path).iter("property")
        if entry.get("name") in ("text", "title")
        for string in entry.iter("string")
    ]
    for path in [*MODULE.rglob("*.py"), *(MODULE.parent / "FetusMapV2Lib" / "presenting").glob("*.py")]:
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        texts += [call.args[0].value for call in calls if getattr(call.func, "id", "") == "_"]
    letters = [letter for text in texts for letter in mnemonics(text)]
    assert len(letters) > 10
    assert sorted(letters) == sorted(set(letters) - set(MENUS))


@pytest.fixture
def ui(open_window, volume):
    window = open_window()
    window.click(window.module_widget.ui.estimateButton)
    return window.module_widget.ui


@pytest.mark.parametrize(
    "name", ["formulaComboBox", "modelComboBox", "memoryBudgetSpinBox", "readerLineEdit", "savedSettingsComboBox"]
)
def test_letters_belong_to_whatever_is_typed_into(ui, main_window, name):
    import qt

    for part in (ui.optionsCollapsibleButton, ui.reportCollapsibleButton):
        part.collapsed = False
    main_window.click_item(ui.landmarksTree, ui.landmarksTree.indexFromItem(ui.landmarksTree.topLevelItem(0).child(0)))
    getattr(ui, name).setFocus()
    for key in (qt.Qt.Key_C, qt.Qt.Key_M, qt.Qt.Key_L):
        main_window.press(key)
    states = main_window.module_widget.state.poseScene.states()
    assert set(states) == {"estimated"}
    ui.landmarksTree.setFocus()
    main_window.press(qt.Qt.Key_C)
    assert main_window.module_widget.state.poseScene.states()[0] == "confirmed"


def test_letters_belong_to_the_editor_of_a_table(ui, main_window):
    import qt

    table = qt.QTableWidget(1, 1, ui.resultsTable.parent())
    table.setItem(0, 0, qt.QTableWidgetItem("a"))
    table.show()
    ui.landmarksTree.setCurrentItem(ui.landmarksTree.topLevelItem(0).child(0))
    table.editItem(table.item(0, 0))
    assert main_window.focusWidget().inherits("QLineEdit")
    main_window.press(qt.Qt.Key_M)
    assert main_window.module_widget.state.poseScene.states()[0] == "estimated"
    table.setParent(None)


def press_c(window):
    import qt

    window.press(qt.Qt.Key_C)
    return window.module_widget.state.poseScene.states()[0]


def test_letters_have_one_switch_which_says_what_they_do(ui, main_window):
    ui.reportCollapsibleButton.collapsed = False
    ui.landmarksTree.setCurrentItem(ui.landmarksTree.topLevelItem(0).child(0))
    ui.landmarksTree.setFocus()
    assert ui.keysLabel.text == "Keys: act on the selected landmarks."
    main_window.click(ui.keysCheckBox)
    assert ui.keysLabel.text == "Keys: off." and press_c(main_window) == "estimated"
    main_window.click(ui.keysCheckBox)
    ui.readerLineEdit.setFocus()
    assert ui.keysLabel.text == "Keys: wait while you type." and press_c(main_window) == "estimated"
    ui.landmarksTree.setFocus()
    assert press_c(main_window) == "confirmed"


def test_every_control_is_reached_by_tab(ui, main_window):
    import qt

    panel = main_window.module_widget.parent
    kinds = "QAbstractButton", "QComboBox", "QLineEdit", "QAbstractSpinBox", "QAbstractItemView", "QSlider"
    for part in (ui.optionsCollapsibleButton, ui.reportCollapsibleButton, ui.landmarksCollapsibleButton):
        part.collapsed = False
    ui.inputSelector.setFocus()
    reached = []
    while main_window.focusWidget() not in reached and len(reached) < 200:
        reached.append(main_window.focusWidget())
        main_window.press(qt.Qt.Key_Tab)
    controls = [one for one in panel.findChildren(qt.QWidget) if any(map(one.inherits, kinds))]
    missing = [
        one
        for one in controls
        if one.visible and one.enabled and one not in reached and one.focusPolicy != qt.Qt.NoFocus
        if one.focusProxy() is None and not isinstance(one.parent(), qt.QComboBox | qt.QAbstractSpinBox)
    ]
    assert [one.objectName or one.parent().objectName for one in missing] == []
    assert len(reached) > 30
    unreachable = [
        one.objectName
        for one in controls
        if one.focusPolicy == qt.Qt.NoFocus and one.objectName and not one.objectName.startswith("qt_")
    ]
    assert unreachable == []


# ---- width


def test_long_names_and_paths_leave_the_panel_as_narrow_as_it_is(open_window, scene):
    import slicer
    from FetusMapV2Panel import selftest

    from FetusMapV2Lib.presenting.tones import Tone

    widths = []
    for name, path in (("short", "/short"), (LONG, "/" + "/".join(12 * ["a folder of some depth"]) + "/" + 60 * "y")):
        scene.Clear(0)
        selftest.addVolume(scene).SetName(name)
        selftest.addSequence(scene).SetName(name)
        window = open_window()
        ui, state = window.module_widget.ui, window.module_widget.state
        for part in (ui.optionsCollapsibleButton, ui.reportCollapsibleButton, ui.detailsCollapsibleButton):
            part.collapsed = False
        for edit in (ui.reportFolderEdit, ui.trainingFolderEdit, ui.modelPathLineEdit):
            edit.currentPath = path
        ui.modelComboBox.addItem(name)
        ui.savedSettingsComboBox.addItem(name)
        window.click(ui.estimateButton)
        state.say(f"{path}/{name}.nrrd: the file cannot be read.", Tone.ERROR)
        slicer.app.processEvents()
        widths.append(window.module_widget.parent.minimumSizeHint().width())
    short, long = widths
    assert max(short, long) < 330


def test_only_long_words_are_broken(application):
    from FetusMapV2Panel.widget_widths import wrappable

    assert wrappable("Short words stay.") == "Short words stay."
    broken = wrappable(f"No permission: {100 * 'x'}.")
    assert max(map(len, re.split(r"[\s\u200b]", broken))) <= 20
    assert broken.replace("\u200b", "") == f"No permission: {100 * 'x'}."


# ---- other modules


def test_leaving_the_module_ends_placing(ui, main_window, scene):
    fetus = main_window.module_widget.state.poseScene
    before = fetus.pose().positions
    ui.landmarksTree.setCurrentItem(ui.landmarksTree.topLevelItem(0).child(0))
    main_window.click(ui.placeButton)
    assert np.isnan(fetus.pose().positions[0]).all() and not scene.GetUndoFlag()
    main_window.choose_another_module()
    modes = scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    assert modes.GetCurrentInteractionMode() != modes.Place
    np.testing.assert_array_equal(fetus.pose().positions, before)
    assert scene.GetUndoFlag()
    main_window.choose_module()
    assert main_window.module_widget.state.poseScene is fetus and not ui.placeButton.checked


def test_choosing_another_volume_ends_placing(ui, main_window, scene):
    from FetusMapV2Panel import selftest

    fetus = main_window.module_widget.state.poseScene
    before = fetus.pose().positions
    other = selftest.addVolume(scene)
    ui.landmarksTree.setCurrentItem(ui.landmarksTree.topLevelItem(0).child(0))
    main_window.click(ui.placeButton)
    ui.inputSelector.setCurrentNode(other)
    np.testing.assert_array_equal(fetus.pose().positions, before)
    assert scene.GetUndoFlag()


def test_a_scene_that_closes_while_the_module_is_left_is_taken_up_on_return(ui, main_window, scene):
    from FetusMapV2Panel import selftest

    main_window.choose_another_module()
    scene.Clear(0)
    assert main_window.module_widget.state.parameterNode is None
    volume = selftest.addVolume(scene)
    main_window.choose_module()
    assert ui.inputSelector.currentNode() is volume


# ---- other kinds of volumes


def test_label_maps_are_neither_offered_nor_chosen(open_window, scene):
    from FetusMapV2Panel import selftest

    scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    ui = open_window().module_widget.ui
    assert ui.inputSelector.currentNode() is None and ui.inputSelector.nodeCount() == 0
    coloured = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "RGB ultrasound")
    ui.inputSelector.setCurrentNode(coloured)
    assert ui.inputSelector.currentNode() is coloured
    scene.Clear(0)
    scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    volume = selftest.addVolume(scene)
    assert open_window().module_widget.ui.inputSelector.currentNode() is volume


def test_the_volume_in_the_views_or_else_the_newest_is_chosen(open_window, scene):
    import slicer
    from FetusMapV2Panel import selftest

    _older, newest = selftest.addVolume(scene), selftest.addVolume(scene)
    slicer.util.setSliceViewerLayers(background=None)
    assert open_window().module_widget.ui.inputSelector.currentNode() is newest
    scene.Clear(0)
    shown, _newest = selftest.addVolume(scene), selftest.addVolume(scene)
    slicer.util.setSliceViewerLayers(background=shown)
    assert open_window().module_widget.ui.inputSelector.currentNode() is shown


def test_measurements_stand_above_the_list_of_landmarks(ui, main_window):
    layout = ui.resultsCollapsibleButton.parent().parent().layout()
    parts = [section.widget for section in main_window.module_widget.sections]
    names = [type(section).__name__ for section in main_window.module_widget.sections]
    places = {name: layout.indexOf(part) for name, part in zip(names, parts, strict=True)}
    assert places["EstimateSection"] < places["MeasurementsSection"] < places["LandmarksSection"]


# ---- what it costs, and what it leaves


def test_a_move_of_a_landmark_looks_up_no_text(ui, main_window):
    import slicer.i18n

    landmarks = main_window.module_widget.state.poseScene.landmarks_node
    landmarks.SetNthControlPointPosition(0, 0.0, 0.0, 31.0)  # words for what is edited are needed for the first time
    before = len(slicer.i18n.calls)
    landmarks.SetNthControlPointPosition(0, 0.0, 0.0, 32.0)
    assert len(slicer.i18n.calls) == before


def test_texts_are_looked_up_in_slicers_language(application):
    import slicer.i18n
    from FetusMapV2Panel import translations

    before = len(slicer.i18n.calls)
    assert translations.translator("FetusMapV2Panel.example")("a text of the panel") == "a text of the panel"
    assert slicer.i18n.calls[before:] == ["a text of the panel"]


def test_finished_jobs_are_let_go(ui, main_window):
    import gc

    from FetusMapV2Panel.jobs import BackgroundJob

    def jobs() -> list[BackgroundJob]:
        return [one for one in gc.get_objects() if isinstance(one, BackgroundJob)]

    gc.collect()
    before = jobs()  # other tests close panels in the midst of theirs
    for _time in range(3):
        main_window.click(ui.estimateButton)
    assert main_window.wait_until(lambda: not main_window.module_widget.state.running)
    main_window.wait_until(lambda: False, seconds=0.1)  # the line about resources has its answer, too
    gc.collect()
    assert not [one for one in jobs() if not any(one is known for known in before)]


def test_a_panel_that_is_unloaded_is_gone(open_window, volume, main_window):
    import gc
    import weakref

    window = open_window()
    window.click(window.module_widget.ui.estimateButton)
    widget = window.module_widget
    kept = {type(one).__name__: weakref.ref(one) for one in (widget, widget.state, widget.activity, *widget.sections)}
    del widget
    window.unload()
    gc.collect()
    assert [name for name, one in kept.items() if one() is not None] == []


@pytest.mark.usefixtures("four_views")
def test_a_move_of_a_landmark_is_one_picture_in_every_view(ui, main_window):
    landmarks = main_window.module_widget.state.poseScene.landmarks_node
    views = main_window.views.values()
    main_window.wait_until(lambda: not any(view.has_requests for view in views))
    before = [view.renders for view in views]
    for view in views:
        view.is_impatient = True
    try:
        landmarks.SetNthControlPointPosition(0, 0.0, 3.0, 33.0)
        main_window.wait_until(lambda: not any(view.has_requests for view in views))
    finally:
        for view in views:
            view.is_impatient = False
    assert [view.renders - known for view, known in zip(views, before, strict=True)] == [1, 1, 1, 1]


# ---- names

#: Of volumes, as files of clinics have them. Bytes are a name that is no UTF-8.
NAMES = ["100 %s%n%d", 300 * "x", b"\xdcbung 1", "CON", "a/b\\c:d*\n\x07\u202e. ."]


@pytest.mark.usefixtures("four_views")
def test_a_volume_of_any_name_is_estimated_and_reported(open_window, scene, tmp_path):
    import slicer
    from FetusMapV2Panel import selftest

    window = open_window()
    ui, state = window.module_widget.ui, window.module_widget.state
    for kind in ("Page", "Pdf", "Dicom"):
        getattr(ui, f"report{kind}CheckBox").setChecked(False)
    ui.trainingFolderEdit.currentPath = str(tmp_path / "training")
    for number, name in enumerate(NAMES):
        volume = selftest.addVolume(scene)
        volume.SetName(name)
        ui.inputSelector.setCurrentNode(volume)
        ui.reportFolderEdit.currentPath = str(tmp_path / str(number))
        for button in (ui.estimateButton, ui.writeReportButton, ui.saveCaseButton):
            window.click(button)
            assert not state.isError, f"{name!r}: {state.message}"
            state.poseScene.landmarks_node.SetNthControlPointPosition(0, 0.0, 1.0, 31.0)
        for path in (tmp_path / str(number)).iterdir():
            assert len(path.name.encode()) < 200 and path.name.isprintable() and "b'" not in path.name
            assert path.name.split(".")[0].upper() not in ("CON", "NUL")
    assert slicer.util.saveScene(str(tmp_path / "all.mrb"))
