"""The settings of the module: in the scene's parameter node, bound to the panel by name, and as plain values."""

import enum
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

from slicer import vtkMRMLMarkupsFiducialNode, vtkMRMLScalarVolumeNode, vtkMRMLSequenceBrowserNode
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from FetusMapV2Lib.estimation.estimate import RefineMode, check_mode
from FetusMapV2Panel.translations import translator

if TYPE_CHECKING:  # a parameter that is a node may be empty; Slicer's wrapper wants its class alone
    from slicer import vtkMRMLScriptedModuleNode

    Volume = vtkMRMLScalarVolumeNode | None
    Landmarks = vtkMRMLMarkupsFiducialNode | None
    Browser = vtkMRMLSequenceBrowserNode | None
else:
    Volume, Landmarks, Browser = vtkMRMLScalarVolumeNode, vtkMRMLMarkupsFiducialNode, vtkMRMLSequenceBrowserNode

_ = translator(__name__)

#: GiB; no device has more.
MAX_MEMORY = 1024.0
#: Seconds between the volumes of a sequence.
MAX_INTERVAL = 3600.0


class Device(enum.Enum):
    """Where the network runs; the value is that of the engine."""

    AUTO = "auto"
    CUDA = "cuda"
    CPU = "cpu"

    def label(self) -> str:
        """The text in the panel's combo box."""
        texts = {Device.AUTO: _("Automatic"), Device.CUDA: _("GPU (CUDA)"), Device.CPU: _("Processor (CPU)")}
        return texts[self]


class Refine(enum.Enum):
    """The refinement of a pose after the network; the value is that of the engine."""

    OFF = "off"
    PRIOR = "prior"
    FULL = "full"

    @property
    def mode(self) -> RefineMode:
        """As the engine takes it."""
        return check_mode(self.value)

    def label(self) -> str:
        """The text in the panel's combo box."""
        texts = {
            Refine.OFF: _("Off"),
            Refine.PRIOR: _("With the pose library (fast)"),
            Refine.FULL: _("Tune the network to the volume (slow)"),
        }
        return texts[self]


class DatingFormula(enum.Enum):
    """The formula for the gestational age; the value is its key in the library."""

    INTERGROWTH21 = "intergrowth21"
    ROBINSON = "robinson"
    FMF = "fmf"
    HADLOCK = "hadlock"

    def label(self) -> str:
        """The text in the panel's combo box."""
        texts = {
            DatingFormula.INTERGROWTH21: _("INTERGROWTH-21st (2014)"),
            DatingFormula.ROBINSON: _("Robinson and Fleming (1975)"),
            DatingFormula.FMF: _("FMF (45–84 mm)"),
            DatingFormula.HADLOCK: _("Hadlock (1992)"),
        }
        return texts[self]


@parameterNodeWrapper
class FetusMapV2ParameterNode:
    """The parameters that a scene keeps for the panel.

    Attributes:
        inputVolume: the ultrasound volume.
        landmarks: the shown pose; empty for new landmarks at the next estimate.
        device: where the network runs.
        memoryBudget: GiB that the network may use; 0 = no limit.
        refine: the refinement of the pose after the network.
        mirrored: the device delivers mirrored volumes; their handedness is corrected.
        model: name in the index or path of a model; empty for the default one.
        turnSlices: after an estimate the slice views show the planes of the fetus, not the axes of the volume.
        showNames: views show the names of the landmarks of the selected group.
        showSkeleton, showPlane, showCallipers: views show skeleton, midsagittal plane and measured lengths.
        datingFormula: the formula whose gestational age comes first.
        reportPage, reportPdf, reportTable, reportDicom, reportFhir: the files of a report.
        reportWithoutIdentifiers: omit patient, study, reader and the name of the volume from the report.
        sequenceBrowser: the volumes over time whose movement is analysed.
        frameInterval: seconds between them; 0 = the times of the sequence.
    """

    inputVolume: Volume
    landmarks: Landmarks
    device: Device = Device.AUTO
    memoryBudget: Annotated[float, WithinRange(0.0, MAX_MEMORY)] = 0.0
    refine: Refine = Refine.OFF
    mirrored: bool = False
    model: str = ""
    turnSlices: bool = True
    showNames: bool = True
    showSkeleton: bool = True
    showPlane: bool = True
    showCallipers: bool = True
    datingFormula: DatingFormula = DatingFormula.INTERGROWTH21
    reportPage: bool = True
    reportPdf: bool = True
    reportTable: bool = True
    reportDicom: bool = True
    reportFhir: bool = False
    reportWithoutIdentifiers: bool = False
    sequenceBrowser: Browser
    frameInterval: Annotated[float, WithinRange(0.0, MAX_INTERVAL)] = 0.0

    if TYPE_CHECKING:  # methods that the wrapper adds
        parameterNode: vtkMRMLScriptedModuleNode

        def __init__(self, parameterNode: vtkMRMLScriptedModuleNode) -> None: ...
        def connectGui(self, ui: object) -> int: ...
        def disconnectGui(self, tag: int | None) -> None: ...
        def StartModify(self) -> int: ...
        def EndModify(self, before: int) -> int: ...


@dataclass(frozen=True)
class Settings:
    """The settings of an estimate, without its volume; see `FetusMapV2ParameterNode`."""

    device: Device = Device.AUTO
    memoryBudget: float = 0.0
    refine: Refine = Refine.OFF
    mirrored: bool = False
    model: str = ""

    @classmethod
    def of(cls, parameterNode: FetusMapV2ParameterNode) -> "Settings":
        """The settings in a parameter node."""
        return cls(**{field.name: getattr(parameterNode, field.name) for field in fields(cls)})

    def applyTo(self, parameterNode: FetusMapV2ParameterNode) -> None:
        """Write the settings into a parameter node, as one change."""
        before = parameterNode.StartModify()
        for field in fields(self):
            setattr(parameterNode, field.name, getattr(self, field.name))
        parameterNode.EndModify(before)

    def toPlain(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return {**asdict(self), "device": self.device.value, "refine": self.refine.value}

    @classmethod
    def fromPlain(cls, values: dict[str, Any]) -> "Settings":
        """The settings of `toPlain`; missing ones have their defaults.

        Raises:
            ValueError, TypeError: these are no settings.
        """
        known = {field.name for field in fields(cls)}
        found = {name: value for name, value in values.items() if name in known}
        converters = {"device": Device, "memoryBudget": float, "refine": Refine, "mirrored": bool, "model": str}
        return cls(**{name: converters[name](value) for name, value in found.items()})

    @property
    def engine(self) -> "EngineSettings":
        """The settings that an engine is loaded with."""
        budget = round(self.memoryBudget * 2**30) or None
        return EngineSettings(self.device.value, budget, self.model or None)


@dataclass(frozen=True)
class EngineSettings:
    """The settings that an engine is loaded with.

    Attributes:
        device: "auto", "cuda" or "cpu".
        memoryBudget: bytes, None = no limit.
        model: name or path, None = the default one.
    """

    device: str = "auto"
    memoryBudget: int | None = None
    model: str | None = None
