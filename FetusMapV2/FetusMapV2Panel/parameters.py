"""The settings of the module: in the scene's parameter node, bound to the panel by name, and as plain values."""

import enum
from dataclasses import asdict, dataclass, fields
from typing import Annotated

from slicer import vtkMRMLMarkupsFiducialNode, vtkMRMLScalarVolumeNode, vtkMRMLSequenceBrowserNode
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from FetusMapV2Lib.estimation.estimate import RefineMode, check_mode
from FetusMapV2Panel.translations import translator

_ = translator(__name__)

#: GiB; no device has more.
MOST_MEMORY = 1024.0
#: Seconds between volumes; beyond it they are no sequence.
LONGEST_INTERVAL = 3600.0


class Device(enum.Enum):
    """Where the network runs; the value is what the engine takes."""

    AUTO = "auto"
    CUDA = "cuda"
    CPU = "cpu"

    def label(self) -> str:
        """The text in the panel's combo box."""
        texts = {Device.AUTO: _("Automatic"), Device.CUDA: _("GPU (CUDA)"), Device.CPU: _("Processor (CPU)")}
        return texts[self]


class Refine(enum.Enum):
    """What is done to a pose after the network; the value is what the engine takes."""

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
            Refine.PRIOR: _("By the pose library (quick)"),
            Refine.FULL: _("Tune the network to the volume (slow)"),
        }
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
    memoryBudget - GiB that the network may take; 0 = as much as it takes.
    refine - what is done to the pose after the network.
    mirrored - the device delivers its volumes mirrored; they are put right.
    model - name in the index or path of a model; empty for the default one.
    datingFormula - which gestational age comes first.
    reportPage, reportPdf, reportTable, reportDicom, reportFhir - which files a report consists of.
    reportWithoutIdentifiers - leave patient, study, reader and the volume's name out of it.
    sequenceBrowser - the volumes over time whose movement is looked at.
    frameInterval - seconds between them; 0 = as the sequence says.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    landmarks: vtkMRMLMarkupsFiducialNode
    device: Device = Device.AUTO
    memoryBudget: Annotated[float, WithinRange(0.0, MOST_MEMORY)] = 0.0
    refine: Refine = Refine.OFF
    mirrored: bool = False
    model: str = ""
    datingFormula: DatingFormula = DatingFormula.INTERGROWTH21
    reportPage: bool = True
    reportPdf: bool = True
    reportTable: bool = True
    reportDicom: bool = True
    reportFhir: bool = False
    reportWithoutIdentifiers: bool = False
    sequenceBrowser: vtkMRMLSequenceBrowserNode
    frameInterval: Annotated[float, WithinRange(0.0, LONGEST_INTERVAL)] = 0.0


@dataclass(frozen=True)
class Settings:
    """How an estimate is made, without what it is made of; see `FetusMapV2ParameterNode`."""

    device: Device = Device.AUTO
    memoryBudget: float = 0.0
    refine: Refine = Refine.OFF
    mirrored: bool = False
    model: str = ""

    @classmethod
    def of(cls, parameterNode) -> "Settings":
        """The settings in a parameter node."""
        return cls(**{field.name: getattr(parameterNode, field.name) for field in fields(cls)})

    def applyTo(self, parameterNode) -> None:
        """Write them into a parameter node, as one change."""
        before = parameterNode.StartModify()
        for field in fields(self):
            setattr(parameterNode, field.name, getattr(self, field.name))
        parameterNode.EndModify(before)

    def toPlain(self) -> dict:
        """As JSON values."""
        return {**asdict(self), "device": self.device.value, "refine": self.refine.value}

    @classmethod
    def fromPlain(cls, values: dict) -> "Settings":
        """The settings of `toPlain`; what is missing has its default.

        Raises:
            ValueError, TypeError: these are no settings.
        """
        known = {field.name for field in fields(cls)}
        found = {name: value for name, value in values.items() if name in known}
        converters = {"device": Device, "memoryBudget": float, "refine": Refine, "mirrored": bool, "model": str}
        return cls(**{name: converters[name](value) for name, value in found.items()})

    @property
    def engine(self) -> "EngineSettings":
        """Those that an engine is loaded with."""
        budget = round(self.memoryBudget * 2**30) or None
        return EngineSettings(self.device.value, budget, self.model or None)


@dataclass(frozen=True)
class EngineSettings:
    """What an engine is loaded with.

    Attributes:
        device: "auto", "cuda" or "cpu".
        memoryBudget: bytes, None = as much as it takes.
        model: name or path, None = the default one.
    """

    device: str = "auto"
    memoryBudget: int | None = None
    model: str | None = None
