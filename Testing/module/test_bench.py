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
