"""First use without PyTorch: explained in the panel, one click, the log in sight, no dialog; also without a network.

The folder's packages are installed by the real pip, into a folder of the test's own.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from FetusMapV2Lib.core.errors import UserError

posix = pytest.mark.skipif(os.name != "posix", reason="needs a script of POSIX as PythonSlicer")


@pytest.fixture
def bare(application, monkeypatch):
    """A Slicer without PyTorch but with its extension; notes what was installed."""
    import slicer
    from FetusMapV2Panel import requirements

    log = SimpleNamespace(missing=["torch", "safetensors"], installed=[], fail=False)
    monkeypatch.setattr(requirements, "missingPackages", lambda: list(log.missing))

    def install_torch(askConfirmation=True, torchVersionRequirement=None):  # noqa: N803
        assert askConfirmation is False
        print("Collecting torch")
        if log.fail:
            raise subprocess.CalledProcessError(7, "pip")
        log.installed.append("torch" + torchVersionRequirement)
        log.missing.remove("torch")
        return object()

    def run_module(module, arguments):
        log.installed.append(" ".join([module, *arguments]))
        log.missing.remove("safetensors")

    logic = SimpleNamespace(installTorch=install_torch)
    monkeypatch.setitem(sys.modules, "PyTorchUtils", SimpleNamespace(PyTorchUtilsLogic=lambda: logic))
    monkeypatch.setattr(slicer.util, "executePythonModule", run_module)
    return log


def test_the_panel_explains_and_installs_at_one_click(bare, open_window, volume):
    window = open_window()
    ui = window.module_widget.ui
    assert ui.installCollapsibleButton.visible
    assert "torch, safetensors" in ui.installLabel.text
    assert "gigabytes" in ui.installLabel.text
    assert "First-time setup" in ui.resourceLabel.text
    assert not ui.estimateButton.enabled
    assert bare.installed == []  # nothing without being asked
    window.click(ui.installOnlineButton)
    from FetusMapV2Panel import requirements

    flags = "--no-deps --only-binary :all: --require-hashes"
    assert bare.installed == ["torch>=2.6", f"pip install {flags} -r {requirements.pinned()}"]
    assert "Collecting torch" in ui.installLogEdit.toPlainText()
    assert ui.messageLabel.text == "Everything is installed."
    assert not ui.installCollapsibleButton.visible
    window.click(ui.estimateButton)
    assert ui.resultsTable.rowCount == 12


def test_slicer_installs_by_its_packaging_where_it_has_it(bare, open_window, volume, monkeypatch):
    import slicer
    from FetusMapV2Panel import requirements

    def pip_install(arguments, *, show_progress, requester):
        assert not show_progress and requester == "FetusMapV2"  # progress would be a modal dialog
        bare.installed.append(" ".join(["packaging", *arguments]))
        bare.missing.remove("safetensors")

    monkeypatch.setitem(sys.modules, "slicer.packaging", SimpleNamespace(pip_install=pip_install))
    monkeypatch.setattr(slicer.util, "executePythonModule", lambda *_given: pytest.fail("not by its own pip"))
    requirements.installOnline(lambda line: None)
    flags = "--no-deps --only-binary :all: --require-hashes"
    assert bare.installed == ["torch>=2.6", f"packaging {flags} -r {requirements.pinned()}"]


def test_a_failed_installation_is_one_sentence_and_its_log_stays(bare, open_window, volume):
    bare.fail = True
    window = open_window()
    ui = window.module_widget.ui
    window.click(ui.installOnlineButton)
    assert "the installation failed with code 7. Check the network" in ui.messageLabel.text
    assert ui.installLogEdit.visible
    assert "Collecting torch" in ui.installLogEdit.toPlainText()
    assert ui.installOnlineButton.enabled


def test_without_the_pytorch_extension_says_where_to_get_it(bare, open_window, volume, monkeypatch):
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    window = open_window()
    window.click(window.module_widget.ui.installOnlineButton)
    assert "Extensions Manager" in window.module_widget.ui.messageLabel.text
    assert bare.installed == []


def test_the_section_is_hidden_where_nothing_is_missing(open_window, volume):
    assert not open_window().module_widget.ui.installCollapsibleButton.visible


def test_scripts_get_an_error_instead_of_a_question(bare):
    from FetusMapV2Panel.estimation import loadEngine
    from FetusMapV2Panel.parameters import EngineSettings

    with pytest.raises(UserError, match="torch, safetensors"):
        loadEngine(EngineSettings("cpu"))


# ---- what is downloaded is what was tested


def test_the_package_that_is_downloaded_is_pinned_for_every_system(application):
    from FetusMapV2Panel import requirements

    text = requirements.pinned().read_text(encoding="utf-8")
    (line,) = [line for line in text.replace("\\\n", "").splitlines() if line and not line.startswith("#")]
    constraints = (Path(__file__).parents[2] / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert line.split()[0] in constraints
    # Windows, macOS and Linux, each with both kinds of processors, and small Linux
    assert len(set(re.findall(r"--hash=sha256:[0-9a-f]{64}(?= |$)", line))) == 7


@posix
@pytest.mark.parametrize("genuine", [True, False])
def test_another_file_under_the_pinned_name_is_not_installed(offline, open_window, volume, monkeypatch, genuine):
    from FetusMapV2Panel import requirements

    wheel(offline.folder, "safetensors", "0.8.0")
    (file,) = offline.folder.iterdir()
    if genuine:
        own = offline.folder.parent / "own pins.txt"
        own.write_text(f"safetensors==0.8.0 --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}")
        monkeypatch.setattr(requirements, "pinned", lambda: own)
    (offline.site / "torch").mkdir()
    (offline.site / "torch" / "__init__.py").touch()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", file.parent.as_uri())
    window = open_window()
    ui = window.module_widget.ui
    window.click(ui.installOnlineButton)
    assert window.wait_until(lambda: not window.module_widget.state.running)
    assert (ui.messageLabel.text == "Everything is installed.") == genuine
    assert (offline.site / "safetensors").exists() == genuine
    assert ("DO NOT MATCH THE HASHES" in ui.installLogEdit.toPlainText()) != genuine


# ---- without a network


def wheel(folder: Path, name: str, version: str) -> None:
    """A package of one empty module, as pip takes it."""
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}/__init__.py", "")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture
def offline(application, monkeypatch, tmp_path):
    """A PythonSlicer whose pip installs into `site`, and an empty folder for wheels."""
    from FetusMapV2Panel import requirements

    site, folder, programs = tmp_path / "site", tmp_path / "Räder 1", tmp_path / "bin"
    for made in (site, folder, programs):
        made.mkdir()
    launcher = programs / "PythonSlicer"
    launcher.write_text(f'#!/bin/sh\nPIP_TARGET="{site}" exec "{sys.executable}" "$@"\n')
    launcher.chmod(0o755)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)  # a site's own sources of packages are none of this test's
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")

    def missing():
        importlib.machinery.PathFinder.invalidate_caches()
        names = ("torch", "safetensors")
        return [name for name in names if importlib.machinery.PathFinder.find_spec(name, [str(site)]) is None]

    monkeypatch.setattr(requirements, "missingPackages", missing)
    return SimpleNamespace(site=site, folder=folder)


def install_from(folder: Path, window) -> str:
    ui = window.module_widget.ui
    ui.installFolderPathLineEdit.currentPath = str(folder)
    window.click(ui.installFolderButton)
    assert window.wait_until(lambda: not window.module_widget.state.running)
    return ui.messageLabel.text


@posix
def test_packages_come_from_a_folder(offline, open_window, volume):
    wheel(offline.folder, "torch", "2.9.0")
    wheel(offline.folder, "safetensors", "0.5")
    window = open_window()
    ui = window.module_widget.ui
    assert not ui.installFolderButton.enabled  # no folder yet
    assert install_from(offline.folder, window) == "Everything is installed."
    assert (offline.site / "torch" / "__init__.py").is_file()
    assert "Successfully installed" in ui.installLogEdit.toPlainText()
    assert not ui.installCollapsibleButton.visible


@pytest.mark.parametrize(
    ("version", "missing"), [("2.5.1+cu121", ["torch"]), ("2.6.0", []), ("2.13.0+cpu", []), ("3.0a1", [])]
)
def test_a_torch_that_is_too_old_is_missing(application, monkeypatch, version, missing):
    from FetusMapV2Panel import requirements

    versions = {"torch": version, "safetensors": "0.4.0"}
    monkeypatch.setattr(importlib.metadata, "version", versions.__getitem__)
    monkeypatch.setattr(requirements, "_missingIn", requirements._missingIn.__wrapped__)  # nothing known from before
    assert requirements.missingPackages() == missing


def test_a_package_that_comes_or_goes_is_noticed(application, monkeypatch, tmp_path):
    from FetusMapV2Panel import requirements

    monkeypatch.setattr(requirements, "_PACKAGES", {"made_up_package": "2.0"})
    monkeypatch.syspath_prepend(tmp_path)
    assert requirements.missingPackages() == ["made_up_package"]
    wheel(tmp_path, "made_up_package", "2.1")
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as file:
        file.extractall(tmp_path)
    assert requirements.missingPackages() == []
    known = tmp_path / "made_up_package-2.1.dist-info"
    known.rename(tmp_path / "made_up_package-1.9.dist-info")
    metadata = tmp_path / "made_up_package-1.9.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("2.1", "1.9"))
    assert requirements.missingPackages() == ["made_up_package"]
    shutil.rmtree(tmp_path / "made_up_package")
    assert requirements.missingPackages() == ["made_up_package"]


@posix
def test_models_in_the_folder_become_known(offline, open_window, volume):
    from FetusMapV2Panel import selftest

    class Engine(selftest.EngineStandIn):
        installed = []  # noqa: RUF012

        def install_model(self, file, name):
            self.installed.append((file, name))

    wheel(offline.folder, "torch", "2.9.0")
    wheel(offline.folder, "safetensors", "0.5")
    (offline.folder / "site-7.safetensors").touch()
    (offline.folder / "simulated-2.safetensors").touch()  # bundled already
    text = install_from(offline.folder, open_window(Engine))
    assert text == "Everything is installed, and these models: site-7."
    assert Engine.installed == [(str(offline.folder / "site-7.safetensors"), "site-7")]


@posix
@pytest.mark.parametrize(
    ("wheels", "said", "logged"),
    [
        ((), "there are no Python wheels here", ""),
        (("safetensors",), "the installation failed with code 1. See which package the log names", "torch"),
        (("torch-old",), "the installation failed with code 1", "torch>=2.6"),
    ],
)
def test_a_folder_that_lacks_something_installs_nothing(offline, open_window, volume, wheels, said, logged):
    for name in wheels:
        wheel(offline.folder, name.removesuffix("-old"), "1.0")
    window = open_window()
    assert said in install_from(offline.folder, window)
    assert logged in window.module_widget.ui.installLogEdit.toPlainText()
    assert not any(offline.site.iterdir())
    assert window.module_widget.ui.installCollapsibleButton.visible
