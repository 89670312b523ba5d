"""Stand-in for qSlicerCoreIOManager: slicer.util.load* and save* on top of the real logics and storage nodes."""

from __future__ import annotations

from pathlib import Path


class CoreIOManager:
    """Only the calls that slicer.util makes; another file type raises."""

    def __init__(self, scene, logics):
        self._scene, self._logics = scene, logics

    def fileType(self, path):
        name = str(path).lower()
        if name.endswith((".mrb", ".mrml")):
            return "SceneFile"
        if name.endswith((".mrk.json", ".fcsv")):
            return "MarkupsFile"
        return "SequenceFile" if ".seq." in name else "VolumeFile"

    def loadNodes(self, file_type, properties, loaded, messages=None):
        path = str(properties["fileName"])
        readers = {
            "SceneFile": lambda: self._load_scene(path, properties, messages),
            "VolumeFile": lambda: self._load_volume(path, properties),
            "MarkupsFile": lambda: self._load_markups(path, properties),
            "SequenceFile": lambda: self._load_sequence(path),
        }
        result = readers[file_type]()
        if isinstance(result, bool):
            return result
        if result is not None:
            loaded.AddItem(result)
        return result is not None

    def _load_scene(self, path, properties, messages) -> bool:
        if path.lower().endswith(".mrb"):
            return bool(self._scene.ReadFromMRB(path, properties.get("clear", False), messages))
        self._scene.SetURL(path)
        return bool(self._scene.Import(messages))

    def _load_volume(self, path, properties):
        name = properties.get("name") or Path(path).name.split(".")[0]
        return self._logics["Volumes"].AddArchetypeVolume(path, name, 1 if properties.get("labelmap") else 0)

    def _load_sequence(self, path):
        """Load a sequence as Slicer does: with a browser that shows its first frame."""
        sequence = self._logics["Sequences"].AddSequence(path)
        if sequence is not None:
            browser = self._scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", sequence.GetName() + " browser")
            browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
            self._logics["Sequences"].UpdateProxyNodesFromSequences(browser)
        return sequence

    def _load_markups(self, path, properties):
        identifiers = self._logics["Markups"].LoadMarkups(path, properties.get("name")) or ""
        return self._scene.GetNodeByID(identifiers.split(",")[0]) if identifiers else None

    def fileWriterFileType(self, node):
        return "SceneFile" if node.IsA("vtkMRMLScene") else "NodeFile"

    def saveNodes(self, file_type, properties, messages=None):
        path = str(properties["fileName"])
        if file_type == "SceneFile":
            self._scene.SetRootDirectory(str(Path(path).parent))
            return bool(self._scene.WriteToMRB(path))
        node = self._scene.GetNodeByID(properties["nodeID"])
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode()
        node.GetStorageNode().SetFileName(path)
        return bool(node.GetStorageNode().WriteData(node))
