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


class DatingFormula(enum.Enum):
    """The formula that dates the pregnancy; the value is its key in the library."""

    INTERGROWTH21 = "intergrowth21"
    ROBINSON = "robinson"
    HADLOCK = "hadlock"

    def label(self) -> str:
        """The text in the panel's combo box."""
        texts = {
            DatingFormula.INTERGROWTH21: _("INTERGROWTH-21st (2014)"),
            DatingFormula.ROBINSON: _("Robinson and Fleming (1975)"),
            DatingFormula.HADLOCK: _("Hadlock (1992)"),
        }
        return texts[self]


@parameterNodeWrapper
class FetusMapV2ParameterNode:
    """
    inputVolume - the ultrasound volume.
    landmarks - the pose that is shown and corrected; empty for new landmarks at the next estimate.
    device - where the network runs.
    datingFormula - which gestational age comes first.
    reportPage, reportPdf, reportTable, reportDicom, reportFhir - which files a report consists of.
    reportWithoutIdentifiers - leave patient, study, reader and the volume's name out of it.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    landmarks: vtkMRMLMarkupsFiducialNode
    device: Device = Device.AUTO
    datingFormula: DatingFormula = DatingFormula.INTERGROWTH21
    reportPage: bool = True
    reportPdf: bool = True
    reportTable: bool = True
    reportDicom: bool = True
    reportFhir: bool = False
    reportWithoutIdentifiers: bool = False
