"""`PoseVisibility`: a pose is drawn in views that show its own volume, and never over another volume.

The layers of slice views tell which volumes they show; the view lists of display nodes restrict poses to views.
The calliper of the crown-rump length is drawn in slices near the midsagittal plane alone, an outline in slices near
its own, and the trace of the midsagittal plane in all slices that cross it.
"""

from __future__ import annotations

from typing import Any

import slicer
from vtkmodules.vtkCommonCore import vtkCommand

from FetusMapV2Lib.scene import appearance, ownership, pose_nodes, slice_alignment
from FetusMapV2Lib.scene.node_lookup import nodes_by_class
from FetusMapV2Lib.scene.observations import Observations, with_node
from FetusMapV2Lib.scene.section_nodes import KEYS

#: Attribute of display nodes that are restricted to some views: their view list before.
_VIEWS_BEFORE = "FetusMapV2.ViewsBefore"
_ALL, _NOWHERE = "all", "FetusMapV2.NoView"


class PoseVisibility:
    """Updates views when they show other volumes or nodes are added or removed, and after undo, redo and loading.

    Args:
        scene: the MRML scene. Nothing is hidden before `show_only` is called.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self._scene = scene
        self._chosen: str | None = None
        self._observations = Observations()
        self._layer_observations = Observations()
        self._point_observations = Observations()
        self._layers: dict[str, frozenset[str]] = {}
        self._aligned: dict[str, slice_alignment.Aligned] = {}
        # The user's own view list by display node: undo resets attributes but not view lists.
        self._users_views: dict[str, list[str]] = {}
        self._is_due = False
        observe = self._observations.observe
        observe(scene, (scene.NodeAddedEvent, scene.NodeRemovedEvent), self._on_node)
        restored = (scene.EndUndoEvent, scene.EndRedoEvent, scene.EndImportEvent, scene.EndRestoreEvent)
        observe(scene, restored, self._on_scene)
        observe(scene, scene.EndCloseEvent, self._on_closed)
        observe(scene, scene.EndBatchProcessEvent, self._on_batch)
        self.refresh()

    def show_only(self, fetus: Any) -> None:
        """Show this pose and no other: a `PoseScene`, a landmarks node, or None for no pose."""
        landmarks = ownership.landmarks_of(fetus)
        self._chosen = "" if landmarks is None else landmarks.GetID()
        self.refresh()

    def refresh(self) -> None:
        """Update all views; observed changes do this by themselves."""
        scene = self._scene
        self._is_due = False
        self._observe_layers()
        self._layers = _layers_by_view(scene)
        for landmarks in ownership.all_poses(scene):
            views = self._views_for(landmarks)
            self._aligned[landmarks.GetID()] = aligned = slice_alignment.aligned_views(self._scene, landmarks)
            for node in ownership.nodes_of(landmarks):
                unfit = slice_alignment.unfit_views(node, aligned)
                for display in appearance.displays([node]):
                    self._restrict_to(display, self._without(views, unfit))
        if self._chosen is not None:
            ownership.show_only(scene, scene.GetNodeByID(self._chosen) if self._chosen else None)

    def close(self) -> None:
        """Stop observing; views stay as they are. Closing twice does no harm."""
        for observations in (self._observations, self._layer_observations, self._point_observations):
            observations.clear()

    def _restrict_to(self, display: Any, views: list[str] | None) -> None:
        """Show a node in these views only, out of those that the user chose; None restores the user's choice."""
        now = [display.GetNthViewNodeID(index) for index in range(display.GetNumberOfViewNodeIDs())]
        stored = display.GetAttribute(_VIEWS_BEFORE)
        known = self._users_views.pop(display.GetID(), None)
        users = known if known is not None else now if stored is None else [] if stored == _ALL else stored.split()
        if views is None:
            wanted, store = users, None
        else:
            self._users_views[display.GetID()] = users
            wanted = [view for view in views if not users or view in users] or [_NOWHERE]
            store = " ".join(users) or _ALL
        if wanted == now and store == stored:
            return
        before = display.StartModify()
        display.SetAttribute(_VIEWS_BEFORE, store)
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

    def _without(self, views: list[str] | None, unfit: frozenset[str]) -> list[str] | None:
        if not unfit:
            return views
        if views is None:
            views = [view.GetID() for view in nodes_by_class(self._scene, "vtkMRMLAbstractViewNode")]
        return [view for view in views if view not in unfit]

    def _observe_layers(self) -> None:
        """Observe layers and slices of all slice views, also of those that were added, and planes of all poses."""
        found = nodes_by_class(self._scene, "vtkMRMLSliceCompositeNode")
        slices = nodes_by_class(self._scene, "vtkMRMLSliceNode")
        turned = (pose_nodes.PLANE_REFERENCE, *(pose_nodes.HANDLES_REFERENCE + key for key in KEYS))
        references = (pose.GetNodeReference(role) for pose in ownership.all_poses(self._scene) for role in turned)
        planes = [plane for plane in references if plane is not None]
        for node in self._layer_observations.subjects():
            if node not in (*found, *slices, *planes):
                self._layer_observations.stop(node)
        for node in found:
            self._layer_observations.observe(node, vtkCommand.ModifiedEvent, self._on_layers)
        for node in slices:
            self._layer_observations.observe(node, vtkCommand.ModifiedEvent, self._on_turned)
        for plane in planes:
            self._layer_observations.observe(plane, plane.PointModifiedEvent, self._on_turned)

    def _on_layers(self, caller: Any, event: str, data: Any = None) -> None:
        if not self._is_changing() and _layers_by_view(self._scene) != self._layers:
            self._refresh_once()

    def _on_turned(self, caller: Any, event: str, data: Any = None) -> None:
        """Refresh when a slice or a midsagittal plane was turned so far that something is shown elsewhere."""
        if self._is_changing():
            return
        for landmarks in ownership.all_poses(self._scene):
            before = self._aligned.get(landmarks.GetID())
            if before is not None and slice_alignment.aligned_views(self._scene, landmarks) != before:
                self._refresh_once()
                return

    @with_node
    def _on_node(self, caller: Any, event: str, node: Any = None) -> None:
        relevant = ("vtkMRMLAbstractViewNode", "vtkMRMLSliceCompositeNode", "vtkMRMLVolumeNode", "vtkMRMLMarkupsNode")
        if node is not None and not self._is_changing() and any(map(node.IsA, relevant)):
            self._observe_points(node)
            self._refresh_once()

    def _refresh_once(self) -> None:
        """Refresh now, or, while many nodes are added, once at their end."""
        if self._scene.IsBatchProcessing():
            self._is_due = True
        else:
            self.refresh()

    def _on_batch(self, caller: Any, event: str, data: Any = None) -> None:
        if self._is_due and not self._is_changing():
            self.refresh()

    def _observe_points(self, node: Any) -> None:
        """Observe a point list until it becomes a pose, which `PoseScene` or a sequence may do after it was added."""
        if node.IsA("vtkMRMLMarkupsFiducialNode") and self._scene.IsNodePresent(node):
            self._point_observations.observe(node, vtkCommand.ModifiedEvent, self._on_points)
        else:
            self._point_observations.stop(node)

    def _on_points(self, caller: Any, event: str, data: Any = None) -> None:
        if caller.GetAttribute(pose_nodes.ROLE_ATTRIBUTE) and caller.GetDisplayNode() is not None:
            self._point_observations.stop(caller)
            self._refresh_once()

    def _on_scene(self, caller: Any, event: str, data: Any = None) -> None:
        for node in nodes_by_class(self._scene, "vtkMRMLSliceNode"):
            # Loading turns slices without an event for the views, which would draw models where the slices were before.
            node.Modified()
        self.refresh()

    def _on_closed(self, caller: Any, event: str, data: Any = None) -> None:
        self._chosen = None
        self._users_views.clear()
        self.refresh()

    def _is_changing(self) -> bool:
        """Whether the scene is being loaded, closed, undone or restored; an event follows at the end."""
        scene = self._scene
        return bool(
            scene.IsImporting() or scene.IsClosing() or scene.IsUndoing() or scene.IsRedoing() or scene.IsRestoring()
        )


def _layers_by_view(scene: slicer.vtkMRMLScene) -> dict[str, frozenset[str]]:
    """Slice view ID -> IDs of the volumes visible in it."""
    layers = {node.GetLayoutName(): node for node in nodes_by_class(scene, "vtkMRMLSliceCompositeNode")}
    views = nodes_by_class(scene, "vtkMRMLSliceNode")
    return {view.GetID(): _visible_volumes(layers.get(view.GetLayoutName())) for view in views}


def _visible_volumes(composite: Any) -> frozenset[str]:
    """IDs of the visible layers: an opaque foreground covers the background, a transparent one is not visible."""
    if composite is None:
        return frozenset()
    back, front = composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID()
    opacity = composite.GetForegroundOpacity() if front else 0.0
    seen = {front} if opacity > 0 else set()
    if opacity < 1:
        seen.add(back)
    return frozenset(identifier for identifier in seen if identifier)
