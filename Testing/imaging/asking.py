"""What the product's readers say of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.file_inspection import inspect_file
from FetusMapV2Lib.imaging.formats.itk_files import open_itk
from FetusMapV2Lib.imaging.reading import read_volume


def raw(path: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Voxels as stored (before they become a type the program works with) and IJK to RAS."""
    return open_itk(path, inspect_file(path)).load(0)


def refusal(path: Path) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(InputError) as caught:
        read_volume(path)
    assert caught.value.remedy and "\n" not in str(caught.value)
    return str(caught.value)
