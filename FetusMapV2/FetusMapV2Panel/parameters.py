"""The settings of the module, kept in the scene's parameter node and bound to the panel by name."""

import enum

from slicer import vtkMRMLMarkupsFiducialNode, vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper


class Device(enum.Enum):
    """Where the network runs; the value is what the engine takes."""

    AUTO = "auto"
    CUDA = "cuda"
    CPU = "cpu"

    def label(self) -> str:
        """The text in the panel's combo box."""
        texts = {Device.AUTO: _("Automatic"), Device.CUDA: _("GPU (CUDA)"), Device.CPU: _("Processor (CPU)")}
        return texts[self]


@parameterNodeWrapper
class FetusMapV2ParameterNode:
    """
    inputVolume - the ultrasound volume.
    landmarks - the pose that is shown and corrected; empty for new landmarks at the next estimate.
    device - where the network runs.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    landmarks: vtkMRMLMarkupsFiducialNode
    device: Device = Device.AUTO
