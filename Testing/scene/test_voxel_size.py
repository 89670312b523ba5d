"""The voxel size that a user gives: read from texts, and set for a volume and for all frames of a sequence."""

from __future__ import annotations

import numpy as np
import pytest

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.scene.voxel_size import is_voxel_size_given, parse_voxel_size, set_voxel_size, voxel_size_text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0.4", (0.4, 0.4, 0.4)),
        ("0,4", (0.4, 0.4, 0.4)),
        ("0.4 x 0.5 x 0.6 mm", (0.4, 0.5, 0.6)),
        ("0,4; 0,5; 0,6", (0.4, 0.5, 0.6)),
        (" 1 2 3 ", (1.0, 2.0, 3.0)),
        ("0.4×0.4×.5", (0.4, 0.4, 0.5)),
    ],
)
def test_a_size_is_read_as_people_write_it(text, size):
    assert parse_voxel_size(text) == size


@pytest.mark.parametrize("text", ["", "mm", "0", "0.4 x 0.4", "1 2 3 4", "a", "-1", "0.4 cm", "21", "0.001"])
def test_what_is_no_size_is_refused_in_one_line(text):
    with pytest.raises(InputError) as caught:
        parse_voxel_size(text)
    assert "is no voxel size" in str(caught.value) and "\n" not in str(caught.value)


def test_origin_and_axes_stay(scene):
    from FetusMapV2Lib.imaging.volume import Volume
    from FetusMapV2Lib.scene.volume_nodes import add_volume_node, ijk_to_world

    turned = np.array([[0, -2, 0, 5], [2, 0, 0, 6], [0, 0, 2, 7], [0, 0, 0, 1]], dtype=float)
    array = np.arange(16**3, dtype=np.uint8).reshape(16, 16, 16)
    node = add_volume_node(scene, Volume(array=array, ijk_to_ras=turned, name="turned", source=""))
    assert not is_voxel_size_given(node)
    set_voxel_size(node, (0.5, 0.25, 1.0))
    expected = np.array([[0, -0.25, 0, 5], [0.5, 0, 0, 6], [0, 0, 1.0, 7], [0, 0, 0, 1]])
    np.testing.assert_allclose(ijk_to_world(node), expected, atol=1e-12)
    assert is_voxel_size_given(node) and voxel_size_text(node) == "0.5 x 0.25 x 1"


def test_all_frames_of_a_sequence_get_the_size(scene):
    from FetusMapV2Lib.imaging.volume import Volume
    from FetusMapV2Lib.scene.volume_sequences import VolumeFrames, add_volume_sequence

    array = np.arange(16**3, dtype=np.uint8).reshape(16, 16, 16)
    frames = [Volume(array=np.roll(array, number), ijk_to_ras=np.eye(4), name="f", source="") for number in range(3)]
    browser = add_volume_sequence(scene, frames)
    proxy = VolumeFrames(browser).proxy_node
    set_voxel_size(proxy, (0.5, 0.5, 0.5), browser)
    browser.SetSelectedItemNumber(2)
    assert proxy.GetSpacing() == (0.5, 0.5, 0.5)
    assert [volume.spacing for volume in VolumeFrames(browser)] == [(0.5, 0.5, 0.5)] * 3
    assert is_voxel_size_given(proxy, browser)
