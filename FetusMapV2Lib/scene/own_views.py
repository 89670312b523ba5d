"""`OwnViews`: a pose is drawn where its own volume is on show, and nowhere over another one.

Slice views tell by their layers which volumes they show; poses keep out of views by the view list of display nodes.
"""

from __future__ import annotations

from typing import Any

import slicer
import vtk

from FetusMapV2Lib.scene import appearance, ownership, pose_nodes
from FetusMapV2Lib.scene.node_lookup import nodes_by_class
from FetusMapV2Lib.scene.observations import Observations

#: Attribute of display nodes that are kept out of views: what their view list was before.
_BEFORE = "FetusMapV2.ViewsBefore"
_ALL, _NOWHERE = "all", "FetusMapV2.NoView"


class OwnViews:
    """Keeps to it while views change their volumes, nodes come and go, and after undo, redo and loading.

    Args:
        scene: the MRML scene. Nothing is hidden before `show_only` was called for it.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self._scene = scene
        self._chosen: str | None = None
        self._observations = Observations()
        self._layer_observations = Observations()
        self._point_observations = Observations()
        self._layers: dict[str, frozenset[str]] = {}
        # By display node what the user lets be seen: undo takes attributes back, and leaves view lists as they are.
        self._users: dict[str, list[str]] = {}
        observe = self._observations.observe
        observe(scene, (scene.NodeAddedEvent, scene.NodeRemovedEvent), self._on_node)
        restored = (scene.EndUndoEvent, scene.EndRedoEvent, scene.EndImportEvent, scene.EndRestoreEvent)
        observe(scene, restored, self._on_scene)
        observe(scene, scene.EndCloseEvent, self._on_closed)
        self.refresh()

    def show_only(self, fetus: Any) -> None:
        """Show this pose and no other from now on: a `PoseScene`, a landmarks node, or None for no pose at all."""
        landmarks = ownership.landmarks_of(fetus)
        self._chosen = "" if landmarks is None else landmarks.GetID()
        self.refresh()

    def refresh(self) -> None:
        """Bring all views up to date; this happens by itself, too."""
        scene = self._scene
        self._follow_layers()
        self._layers = _layers_by_view(scene)
        for landmarks in ownership.all_poses(scene):
            views = self._views_for(landmarks)
            for display in appearance.displays(ownership.nodes_of(landmarks)):
                self._keep_to(display, views)
        if self._chosen is not None:
            ownership.show_only(scene, scene.GetNodeByID(self._chosen) if self._chosen else None)

    def close(self) -> None:
        """Follow no longer; views stay as they are. Twice does no harm."""
        for observations in (self._observations, self._layer_observations, self._point_observations):
            observations.clear()

    def _keep_to(self, display: Any, views: list[str] | None) -> None:
        """Show a node in these views alone, as far as the user lets it be seen; None gives back the user's own."""
        now = [display.GetNthViewNodeID(index) for index in range(display.GetNumberOfViewNodeIDs())]
        kept = display.GetAttribute(_BEFORE)
        known = self._users.pop(display.GetID(), None)
        users = known if known is not None else now if kept is None else [] if kept == _ALL else kept.split()
        if views is None:
            wanted, keep = users, None
        else:
            self._users[display.GetID()] = users
            wanted = [view for view in views if not users or view in users] or [_NOWHERE]
            keep = " ".join(users) or _ALL
        if wanted == now and keep == kept:
            return
        before = display.StartModify()
        display.SetAttribute(_BEFORE, keep)
        display.RemoveAllViewNodeIDs()
        for view in wanted:
            display.AddViewNodeID(view)
        display.EndModify(before)

    def _views_for(self, landmarks: Any) -> list[str] | None:
        """The IDs of the views that may show a pose; None = all of them."""
        volume = ownership.volume_of(landmarks)
        own = "" if volume is None else volume.GetID()
        others = {view for view, shown in self._layers.items() if shown and own not in shown}
        if not others:
            return None
        views = nodes_by_class(self._scene, "vtkMRMLAbstractViewNode")
        return [view.GetID() for view in views if view.GetID() not in others]

    def _follow_layers(self) -> None:
        """Hear of every slice view that shows other volumes."""
        found = nodes_by_class(self._scene, "vtkMRMLSliceCompositeNode")
        for node in self._layer_observations.subjects():
            if node not in found:
                self._layer_observations.stop(node)
        for node in found:
            self._layer_observations.observe(node, vtk.vtkCommand.ModifiedEvent, self._on_layers)

    def _on_layers(self, caller: Any, event: str, data: Any = None) -> None:
        if not self._is_in_flux() and _layers_by_view(self._scene) != self._layers:
            self.refresh()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node(self, caller: Any, event: str, node: Any = None) -> None:
        watched = ("vtkMRMLAbstractViewNode", "vtkMRMLSliceCompositeNode", "vtkMRMLVolumeNode", "vtkMRMLMarkupsNode")
        if node is not None and not self._is_in_flux() and any(map(node.IsA, watched)):
            self._follow_points(node)
            self.refresh()

    def _follow_points(self, node: Any) -> None:
        """Points become a pose after they were added: by `PoseScene`, or by a sequence that makes its own anew."""
        if node.IsA("vtkMRMLMarkupsFiducialNode") and self._scene.IsNodePresent(node):
            self._point_observations.observe(node, vtk.vtkCommand.ModifiedEvent, self._on_points)
        else:
            self._point_observations.stop(node)

    def _on_points(self, caller: Any, event: str, data: Any = None) -> None:
        if caller.GetAttribute(pose_nodes.ROLE_ATTRIBUTE) and caller.GetDisplayNode() is not None:
            self._point_observations.stop(caller)
            self.refresh()

    def _on_scene(self, caller: Any, event: str, data: Any = None) -> None:
        for node in nodes_by_class(self._scene, "vtkMRMLSliceNode"):
            node.Modified()  # views did not hear where loading turned them, and would draw models where they cut before
        self.refresh()

    def _on_closed(self, caller: Any, event: str, data: Any = None) -> None:
        self._chosen = None
        self._users.clear()
        self.refresh()

    def _is_in_flux(self) -> bool:
        """An event at the end of it will come."""
        scene = self._scene
        return bool(
            scene.IsImporting() or scene.IsClosing() or scene.IsUndoing() or scene.IsRedoing() or scene.IsRestoring()
        )


def _layers_by_view(scene: slicer.vtkMRMLScene) -> dict[str, frozenset[str]]:
    """Slice view ID -> IDs of the volumes that can be seen in it."""
    layers = {node.GetLayoutName(): node for node in nodes_by_class(scene, "vtkMRMLSliceCompositeNode")}
    views = nodes_by_class(scene, "vtkMRMLSliceNode")
    return {view.GetID(): _seen(layers.get(view.GetLayoutName())) for view in views}


def _seen(composite: Any) -> frozenset[str]:
    """A foreground that is opaque covers the background; one that is clear is not seen."""
    if composite is None:
        return frozenset()
    back, front = composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID()
    opacity = composite.GetForegroundOpacity() if front else 0.0
    seen = {front} if opacity > 0 else set()
    if opacity < 1:
        seen.add(back)
    return frozenset(identifier for identifier in seen if identifier)
