"""First use without PyTorch: one question, clear words, nothing installed behind the user's back."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from FetusMapV2Lib.foundation.errors import UserError


@pytest.fixture
def bare(application, monkeypatch):
    """A Slicer without PyTorch; returns what was asked and installed."""
    import slicer
    from FetusMapV2Panel import requirements

    log = SimpleNamespace(missing=["torch", "safetensors"], questions=[], installed=[], answer=True)
    monkeypatch.setattr(requirements, "missingPackages", lambda: list(log.missing))

    def confirm(text, title=None, **_):
        log.questions.append(text)
        return log.answer

    def install_torch(askConfirmation=True, torchVersionRequirement=None):  # noqa: N803
        assert askConfirmation is False
        log.installed.append("torch" + torchVersionRequirement)
        log.missing.remove("torch")
        return object()

    def pip_install(arguments):
        log.installed.append(arguments)
        log.missing.remove("safetensors")

    logic = SimpleNamespace(installTorch=install_torch)
    monkeypatch.setitem(sys.modules, "PyTorchUtils", SimpleNamespace(PyTorchUtilsLogic=lambda: logic))
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", confirm)
    monkeypatch.setattr(slicer.util, "pip_install", pip_install)
    return log


def test_asks_once_then_installs(bare):
    from FetusMapV2Panel import requirements

    stages = []
    assert requirements.ensure(lambda fraction, stage: stages.append(stage))
    assert len(bare.questions) == 1
    assert "torch, safetensors" in bare.questions[0]
    assert bare.installed == ["torch>=2.2", "--no-deps safetensors"]
    assert stages == ["installing PyTorch", "installing safetensors"]


def test_no_means_no(bare):
    from FetusMapV2Panel import requirements

    bare.answer = False
    assert not requirements.ensure(lambda fraction, stage: None)
    assert bare.installed == []


def test_without_the_pytorch_extension_says_where_to_get_it(bare, monkeypatch):
    from FetusMapV2Panel import requirements

    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    with pytest.raises(UserError, match="Extensions Manager"):
        requirements.ensure(lambda fraction, stage: None)
    assert bare.questions == []


def test_scripts_get_an_error_instead_of_a_question(bare):
    from FetusMapV2Panel.estimation import loadEngine

    with pytest.raises(UserError, match="torch, safetensors"):
        loadEngine("cpu")
    assert bare.questions == []


def test_declined_installation_leaves_the_panel_ready(bare, open_window, volume, scene):
    bare.answer = False
    window = open_window()
    nodes = scene.GetNumberOfNodes()
    window.click(window.module_widget.ui.estimateButton)
    assert window.module_widget.ui.estimateButton.enabled
    assert scene.GetNumberOfNodes() == nodes
