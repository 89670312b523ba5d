from typing import Any

from numpy.typing import NDArray
from vtk import vtkDataArray

def vtk_to_numpy(array: vtkDataArray) -> NDArray[Any]: ...
