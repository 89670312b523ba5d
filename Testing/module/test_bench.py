"""The bench is strict: what Slicer does not know fails here too."""

from __future__ import annotations

import pytest

_UI = """<ui version="4.0"><class>A</class><widget class="qMRMLWidget" name="A"><layout class="QVBoxLayout" name="l">
<item><widget class="{widget}" name="one"><property name="{property}"><bool>true</bool></property></widget></item>
</layout></widget>{connections}</ui>"""
_CONNECTION = (
    "<connections><connection><sender>A</sender><signal>{signal}</signal>"
    "<receiver>one</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections>"
)


def loaded(tmp_path, widget="qMRMLNodeComboBox", prop="noneEnabled", connections=""):
    import slicer

    path = tmp_path / "a.ui"
    path.write_text(_UI.format(widget=widget, property=prop, connections=connections))
    return slicer.util.loadUI(str(path))


def test_unknown_application_attribute_raises(application):
    import slicer

    with pytest.raises(AttributeError):
        slicer.app.launchRockets()


def test_unknown_signal_raises(application):
    import qt

    button = qt.QPushButton()
    assert button.connect("clicked(bool)", lambda: None)
    for signal in ("pushed()", "clicked(QString)"):
        with pytest.raises(ValueError, match="no signal"):
            button.connect(signal, lambda: None)


def test_unknown_attribute_of_a_qt_object_raises(application):
    import qt

    label = qt.QLabel()
    label.text = "a"
    assert label.text == "a"
    with pytest.raises(AttributeError, match="txet"):
        label.txet = "b"


def test_message_boxes_are_never_opened(application):
    import ctk

    with pytest.raises(RuntimeError, match="modal"):
        ctk.ctkMessageBox().exec_()


@pytest.mark.parametrize("wrong", [{"widget": "qMRMLNodeCombo"}, {"prop": "nonEnabled"}])
def test_unknown_widget_or_property_in_a_ui_file_raises(application, tmp_path, wrong):
    loaded(tmp_path)
    with pytest.raises(RuntimeError, match="unknown"):
        loaded(tmp_path, **wrong)


def test_selectors_get_their_scene_from_the_connections_of_the_ui_file_only(application, tmp_path):
    import slicer

    good = _CONNECTION.format(signal="mrmlSceneChanged(vtkMRMLScene*)")
    for connections, expected in (("", None), (good, application)):
        root = loaded(tmp_path, connections=connections)
        root.setMRMLScene(application)
        assert slicer.util.childWidgetVariables(root).one.mrmlScene() is expected
        root.setMRMLScene(None)
    with pytest.raises(ValueError, match="no signal"):
        loaded(tmp_path, connections=_CONNECTION.format(signal="sceneChanged(vtkMRMLScene*)"))


def test_parameters_are_checked(application):
    import slicer
    from FetusMapV2Panel.parameters import Device, FetusMapV2ParameterNode

    node = FetusMapV2ParameterNode(slicer.vtkMRMLScriptedModuleNode())
    assert node.device is Device.AUTO
    node.device = Device.CUDA
    assert node.parameterNode.GetParameter("device") == "CUDA"
    with pytest.raises(ValueError, match="expects"):
        node.device = "cuda"


def test_a_sample_source_has_the_names_of_slicer(application):
    import sys

    from FetusMapV2Panel import sample_data

    sample_data.register()
    source, *_others = sys.modules["SampleData"].SampleDataLogic.sampleDataSourcesByCategory(sample_data.CATEGORY)
    assert source.loadFileTypes == ["VolumeFile"]
    with pytest.raises(AttributeError):
        _unknown = source.loadFileType


def test_a_path_edit_tells_of_acceptable_paths_only(application):
    import ctk

    edit, told, valid = ctk.ctkPathLineEdit(), [], []
    edit.connect("currentPathChanged(QString)", told.append)
    edit.connect("validInputChanged(bool)", valid.append)
    edit.currentPath = "a"
    edit.currentPath = ""
    edit.nameFilters = ["Models (*.safetensors)"]
    edit.currentPath = "b.txt"
    edit.currentPath = "c.safetensors"
    assert told == ["a", "c.safetensors"]
    assert valid == [True, False, True]


def test_a_path_edit_keeps_its_history_as_a_list_under_a_key_of_its_own(scene):
    import ctk
    import slicer

    for path in ("one", "two", "one"):
        edit = ctk.ctkPathLineEdit()
        edit.settingKey = "Module/Folder"
        edit.currentPath = path
        edit.addCurrentPathToHistory()
    assert slicer.app.userSettings().value("ctkPathLineEdit/Module/Folder") == ["one", "two"]
    assert slicer.app.userSettings().value("Module/Folder") is None
    fresh = ctk.ctkPathLineEdit()
    fresh.settingKey = "Module/Folder"
    assert fresh.currentPath == "one"


def test_selectors_and_path_edits_are_as_wide_as_what_they_hold(application, scene):
    import ctk
    import qt
    import slicer

    scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", 200 * "x")
    for narrow in (False, True):
        selector, edit = slicer.qMRMLNodeComboBox(), ctk.ctkPathLineEdit()
        selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        selector.setMRMLScene(scene)
        edit.currentPath = 200 * "x"
        if narrow:
            (combo,) = selector.findChildren(qt.QComboBox)
            combo.sizeAdjustPolicy = qt.QComboBox.AdjustToMinimumContentsLengthWithIcon
            edit.sizeAdjustPolicy = ctk.ctkPathLineEdit.AdjustToMinimumContentsLength
            edit.minimumContentsLength = 12
        for widget in (selector, edit):
            assert (widget.sizeHint().width() < 250) is narrow
        selector.setMRMLScene(None)


def test_a_module_is_entered_and_left(open_window, main_window):
    window = open_window()
    assert window.module_widget.parent.isEntered
    window.choose_another_module()
    assert not window.module_widget.parent.isEntered
    window.choose_module()


def test_what_is_connected_lives_until_it_is_disconnected_or_its_sender_goes(application):
    import gc
    import weakref

    import qt

    class Listener:
        def hear(self):
            """Nothing to do."""

    button, other = qt.QPushButton(), qt.QPushButton()
    disconnected, left, alone = Listener(), Listener(), Listener()
    button.connect("clicked()", disconnected.hear)
    button.connect("clicked()", left.hear)
    other.connect("clicked()", alone.hear)
    button.disconnect("clicked()", disconnected.hear)
    kept = [weakref.ref(one) for one in (disconnected, left, alone)]
    del disconnected, left, alone, other
    gc.collect()
    assert [one() is not None for one in kept] == [False, True, False]


def test_every_translation_is_noted(application):
    import slicer.i18n

    before = len(slicer.i18n.calls)
    assert slicer.i18n.tr("once") == slicer.i18n.translate("here", "once") == "once"
    assert slicer.i18n.calls[before:] == ["once", "once"]


def test_views_render_in_the_midst_of_changes_unless_paused(main_window):
    import slicer

    view = main_window.views["Red"]
    main_window.wait_until(lambda: not view.has_requests)
    start, view.is_impatient = view.renders, True
    try:
        view.scheduleRender()
        assert view.renders == start, "it waits for more"
        view.scheduleRender()
        assert view.renders == start + 1, "it waits no longer"
        with slicer.util.RenderBlocker():
            for _time in range(3):
                view.scheduleRender()
            assert view.renders == start + 1
        assert view.renders == start + 2
    finally:
        view.is_impatient = False


def test_no_thread_gets_on_while_the_event_loop_idles_but_by_what_runs_in_python(application):
    import threading
    import time

    import qt

    steps, stop = [], threading.Event()

    def count():
        while not stop.is_set():
            steps.append(1)
            time.sleep(0.001)

    thread = threading.Thread(target=count, daemon=True)
    thread.start()
    timer = qt.QTimer()
    timer.setInterval(20)
    timer.connect("timeout()", lambda: time.sleep(0.001))
    try:
        before = len(steps)
        qt.QTest.qWait(200)
        assert len(steps) - before < 20, "of about 200 that a free thread makes"
        timer.start()
        before = len(steps)
        for _time in range(600):  # how soon depends on the machine
            if len(steps) > before:
                break
            qt.QTest.qWait(50)
        assert len(steps) > before
    finally:
        timer.stop()
        stop.set()
        thread.join()


def test_what_hides_by_itself_stays_hidden_when_its_section_unfolds(application):
    import ctk
    import qt
    import slicer

    section = ctk.ctkCollapsibleButton("Section")
    layout = qt.QVBoxLayout(section)
    seen, hidden, later = qt.QLabel("a"), qt.QLabel("b"), qt.QLabel("c")
    for label in (seen, hidden, later):
        layout.addWidget(label)
    section.show()
    slicer.app.processEvents()
    hidden.setVisible(False)
    section.collapsed = True
    later.setVisible(False)
    assert not seen.visible
    section.collapsed = False
    assert [label.visible for label in (seen, hidden, later)] == [True, False, False]
    later.setVisible(True)
    assert later.visible
    section.hide()
