"""Short names of the MRML nodes that the panel works with."""

from __future__ import annotations

import slicer

BrowserNode = slicer.vtkMRMLSequenceBrowserNode
LandmarksNode = slicer.vtkMRMLMarkupsFiducialNode
VolumeNode = slicer.vtkMRMLScalarVolumeNode
