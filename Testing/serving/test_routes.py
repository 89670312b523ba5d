"""Names of files that a browser sends: they stay in their folder, and headers find their voxels."""

from __future__ import annotations

import pytest

from FetusMapV2Lib.serving.routes import plain_name


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("scan é 1.mhd", "scan é 1.mhd"),
        ("scan.nii.gz", "scan.nii.gz"),
        ("IM0001", "IM0001"),
        ("../../etc/passwd", "passwd"),
        ("C:\\scans\\scan.vol", "scan.vol"),
        ("a\x00b\n.raw", "a_b_.raw"),
        ('what?<1>:"2".raw', "what__1___2_.raw"),
        ("..", "file-7"),
        ("folder/", "file-7"),
        ("", "file-7"),
        (300 * "x", "file-7"),
    ],
)
def test_names_are_plain(sent: str, kept: str) -> None:
    assert plain_name(sent, 7) == kept
