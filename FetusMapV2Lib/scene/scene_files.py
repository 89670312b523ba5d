"""Scenes without the Slicer application, and scene files (.mrb), with the real MRML classes.

Within 3D Slicer only `save_scene` is needed: there the other modules get the scene of the application.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import slicer
from vtkmodules.vtkCommonCore import vtkCollection

from FetusMapV2Lib.core.atomic_files import atomic_write, ensure_absent
from FetusMapV2Lib.core.decimal_point import decimal_point_locale
from FetusMapV2Lib.core.errors import InputError, OutputError
from FetusMapV2Lib.scene.bundles import is_plain, plain_folder, unpacked
from FetusMapV2Lib.scene.node_lookup import nodes_by_class
from FetusMapV2Lib.scene.node_names import is_printable, node_name, safe_name

#: Module logics that a scene with volumes, markups, models and sequences needs; Slicer registers the same ones.
_MODULE_LOGICS = {
    "Units": "vtkSlicerUnitsLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
}


class Application:
    """The part of Slicer behind a scene: application logic, module logics and file access, without Qt."""

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self.scene = scene
        self.logic = slicer.vtkSlicerApplicationLogic()
        self.modules: dict[str, Any] = {}
        self._cache = tempfile.TemporaryDirectory(prefix="fetusmap-", ignore_cleanup_errors=True)
        self._start_logics()
        self._start_file_access()

    def _start_logics(self) -> None:
        self.logic.SetMRMLScene(self.scene)
        colours = self.logic.GetColorLogic()
        colours.SetMRMLApplicationLogic(self.logic)
        colours.SetMRMLScene(self.scene)
        colours.AddDefaultColorNodes()
        self.logic.SetModuleLogic("Colors", colours)
        self.logic.SetSliceLogics(vtkCollection())
        self.logic.SetViewLogics(vtkCollection())
        for name, class_name in _MODULE_LOGICS.items():
            module = getattr(slicer, class_name)()
            module.SetMRMLApplicationLogic(self.logic)
            module.SetMRMLScene(self.scene)
            self.logic.SetModuleLogic(name, module)
            self.modules[name] = module
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene, True)

    def _start_file_access(self) -> None:
        """Reading an .mrb needs a data manager, as in Slicer."""
        self._remote = slicer.vtkMRMLRemoteIOLogic()
        self._remote.SetMRMLScene(self.scene)
        self._remote.SetMRMLApplicationLogic(self.logic)
        self._remote.GetCacheManager().SetRemoteCacheDirectory(self._cache.name)
        self._data = slicer.vtkDataIOManagerLogic()
        self._data.SetMRMLScene(self.scene)
        self._data.SetMRMLApplicationLogic(self.logic)
        self._data.SetAndObserveDataIOManager(self._remote.GetDataIOManager())
        self._remote.AddDataIOToScene()

    def close(self) -> None:
        """Empty the scene and release its logics."""
        self.scene.Clear(True)
        for module in (*self.modules.values(), self._data, self.logic):
            module.SetMRMLScene(None)
        self._remote.RemoveDataIOFromScene()
        self.modules.clear()
        self._cache.cleanup()


_applications: dict[str, Application] = {}


def new_scene() -> slicer.vtkMRMLScene:
    """An empty MRML scene with the logics that Slicer would give it; release it with `close_scene`."""
    scene = slicer.vtkMRMLScene()
    _applications[scene.GetAddressAsString("")] = Application(scene)
    return scene


def application_of(scene: slicer.vtkMRMLScene) -> Application:
    """The application behind a scene of `new_scene` (KeyError for another scene)."""
    return _applications[scene.GetAddressAsString("")]


def close_scene(scene: slicer.vtkMRMLScene) -> None:
    """Empty a scene of `new_scene` or `load_scene` and release its logics; closing twice does no harm."""
    application = _applications.pop(scene.GetAddressAsString(""), None)
    if application is not None:
        application.close()


@contextlib.contextmanager
def open_scene(path: str | os.PathLike[str] | None = None) -> Iterator[slicer.vtkMRMLScene]:
    """A new or loaded scene that is closed at the end of the ``with`` block."""
    scene = new_scene() if path is None else load_scene(path)
    try:
        yield scene
    finally:
        close_scene(scene)


def save_scene(scene: slicer.vtkMRMLScene, path: str | os.PathLike[str], *, overwrite: bool = True) -> None:
    """Write the whole scene, data included, to an .mrb file that 3D Slicer opens; whole or not at all.

    Raises:
        OutputError: the name does not end in .mrb, the file exists and `overwrite` is false, or it cannot be written.
    """
    target = bundle_target(path, overwrite)
    with atomic_write(target, overwrite=overwrite) as temporary:
        _write_bundle(scene, temporary, target)


def bundle_target(path: str | os.PathLike[str], overwrite: bool) -> Path:
    """The path of a scene file to write; refused if it is no .mrb, or exists and may not be replaced."""
    target = Path(path)
    if target.suffix.lower() != ".mrb":
        raise OutputError("a Slicer scene file ends in .mrb", where=target, remedy="Choose a name that ends in .mrb")
    ensure_absent(target, overwrite)
    return target


def _write_bundle(scene: slicer.vtkMRMLScene, temporary: Path, target: Path) -> None:
    """Write to a temporary file: the names inside a bundle derive from its own, and MRML cannot take every name."""
    _make_names_safe(scene)
    root, url = scene.GetRootDirectory(), scene.GetURL()
    with plain_folder(temporary.parent, None) as folder:
        bundle = folder / "scene.mrb"
        try:
            with decimal_point_locale():
                written = bool(scene.WriteToMRB(str(bundle)))
        finally:
            scene.SetRootDirectory(root)
            scene.SetURL(url)
        if not written or not zipfile.is_zipfile(bundle):
            raise OutputError("the scene could not be written", where=target, remedy="Check the free disk space")
        shutil.move(bundle, temporary)


def _make_names_safe(scene: slicer.vtkMRMLScene) -> None:
    """Replace characters in node names that XML cannot hold: the file would be unreadable."""
    for node in nodes_by_class(scene, "vtkMRMLNode"):
        name = node_name(node)
        if not is_printable(name) or name != (node.GetName() or ""):
            node.SetName(safe_name(name, node.GetNodeTagName()))


def load_scene(path: str | os.PathLike[str]) -> slicer.vtkMRMLScene:
    """A new scene with the content of an .mrb file.

    Raises:
        InputError: the file is missing, no .mrb, damaged, or not to be trusted; see `bundles.unpacked`.
    """
    source = Path(path)
    if not source.is_file():
        raise InputError("the scene file does not exist", where=source, remedy="Check the path")
    if not zipfile.is_zipfile(source):
        raise InputError("this is not a Slicer scene bundle", where=source, remedy="Choose an .mrb file")
    with unpacked(source) as description, decimal_point_locale():
        scene = new_scene()
        scene.SetURL(str(description))
        if not scene.Connect(slicer.vtkMRMLMessageCollection()):
            close_scene(scene)
            raise InputError("the scene file is damaged", where=source, remedy="Save it again from 3D Slicer")
    # VTK ends the process at a name that is not UTF-8.
    place = str(source.parent) if is_plain(source) else ""
    scene.SetURL(f"{place}/{source.stem}.mrml" if place else "")
    scene.SetRootDirectory(place)
    return scene
