"""`slicer.modules`: the loaded modules by their names in lower case."""

from slicer import vtkMRMLPlotChartNode

class MarkupsLogic:
    def JumpSlicesToLocation(self, r: float, a: float, s: float, centred: bool) -> None: ...

class MarkupsModule:
    def logic(self) -> MarkupsLogic: ...

class PlotsLogic:
    def ShowChartInLayout(self, chart: vtkMRMLPlotChartNode) -> None: ...

class PlotsModule:
    def logic(self) -> PlotsLogic: ...

markups: MarkupsModule
plots: PlotsModule
