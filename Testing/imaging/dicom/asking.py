"""What the product's reader says of a DICOM data set, written to a file first."""

from __future__ import annotations

import pytest
from imaging.samples import save

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.reading import read_volume


def read(dataset, tmp_path):
    save(dataset, tmp_path / "v.dcm")
    return read_volume(tmp_path / "v.dcm")


def refusal(dataset, tmp_path) -> str:
    with pytest.raises(InputError) as caught:
        read(dataset, tmp_path)
    return str(caught.value)
