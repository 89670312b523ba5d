"""Finding nodes in a scene by their class."""

from __future__ import annotations

from typing import Any

import slicer


def nodes_by_class(scene: slicer.vtkMRMLScene, class_name: str) -> list[Any]:
    """All nodes of a class, or of classes derived from it, in the order of the scene.

    MRML returns a collection that the caller owns. It is released here: a leaked one would keep its nodes alive after
    their scene is gone.
    """
    collection = scene.GetNodesByClass(class_name)
    collection.UnRegister(None)
    return [collection.GetItemAsObject(index) for index in range(collection.GetNumberOfItems())]
