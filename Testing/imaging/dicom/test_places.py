"""Where DICOM frames lie: read if complete and consistent, with a warning if ambiguous, otherwise refused."""

from __future__ import annotations

import numpy as np
import pytest
from imaging.dicom.asking import read, refusal
from imaging.samples import enhanced_us, oblique, sample, save, slices_of
from pydicom.dataset import Dataset

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.reading import read_sequence, read_volume
from FetusMapV2Lib.imaging.volume import LPS_TO_RAS

VOLUME = sample((18, 17, 16), (4.0, 4.5, 5.0), oblique())


def shared(dataset: Dataset) -> Dataset:
    return dataset.SharedFunctionalGroupsSequence[0]


def own(dataset: Dataset, number: int) -> Dataset:
    return dataset.PerFrameFunctionalGroupsSequence[number]


def moved(dataset: Dataset, number: int, by) -> None:
    item = own(dataset, number).PlanePositionVolumeSequence[0]
    item.ImagePositionVolume = [float(a + b) for a, b in zip(item.ImagePositionVolume, by, strict=True)]


def up(mm: float) -> np.ndarray:
    """A step along the normal of the slices, LPS."""
    return (LPS_TO_RAS @ VOLUME.ijk_to_ras)[:3, 2] / 5.0 * mm


def item(keyword: str, value) -> list[Dataset]:
    found = Dataset()
    setattr(found, keyword, value)
    return [found]


def patient_placed() -> Dataset:
    """The volume placed in the patient's frame of reference, as highdicom wants it."""
    dataset = enhanced_us([VOLUME])
    dataset.FrameOfReferenceUID = "1.2.3"
    orientation = shared(dataset).PlaneOrientationVolumeSequence[0].ImageOrientationVolume
    del shared(dataset).PlaneOrientationVolumeSequence
    shared(dataset).PlaneOrientationSequence = item("ImageOrientationPatient", [float(v) for v in orientation])
    for group in dataset.PerFrameFunctionalGroupsSequence:
        position = group.PlanePositionVolumeSequence[0].ImagePositionVolume
        group.PlanePositionSequence = item("ImagePositionPatient", [float(v) for v in position])
        del group.PlanePositionVolumeSequence
    return dataset


def test_the_place_is_that_of_highdicom(tmp_path):
    highdicom = pytest.importorskip("highdicom", minversion="0.24")
    found = read(patient_placed(), tmp_path)
    other = highdicom.imread(tmp_path / "v.dcm").get_volume()
    # highdicom counts frames, rows, columns, from whichever end makes a right-handed frame
    corners = np.array(np.meshgrid([0, 15], [0, 16], [0, 17], indexing="ij")).reshape(3, -1)
    ours = (LPS_TO_RAS @ found.ijk_to_ras)[:3] @ np.vstack([corners, np.ones(8)])
    theirs = (np.linalg.inv(other.affine) @ np.vstack([ours, np.ones(8)]))[:3]
    inside = np.round(theirs).astype(int)
    assert np.abs(theirs - inside).max() < 1e-6
    assert np.array_equal(found.array[tuple(corners[::-1])], other.array[tuple(inside)])


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("ImageOrientationVolume", None),
        ("ImageOrientationVolume", [1.0, 0, 0]),
        ("ImageOrientationVolume", [0.0] * 6),
        ("ImageOrientationVolume", [1.0, 0, 0, 1, 0, 0]),
        ("ImageOrientationVolume", [1.0, 0, 0, 0.5, 0.5, 0.7]),
        ("ImageOrientationVolume", [float("nan"), 0, 0, 0, 1, 0]),
        ("ImageOrientationVolume", [1e308, 0, 0, 0, 1, 0]),
        ("ImageOrientationVolume", [2.0, 0, 0, 0, 2, 0]),
    ],
)
def test_an_orientation_that_is_none_is_refused(tmp_path, keyword, values):
    dataset = enhanced_us([VOLUME])
    if values is None:
        del shared(dataset).PlaneOrientationVolumeSequence
    else:
        setattr(shared(dataset).PlaneOrientationVolumeSequence[0], keyword, values)
    line = refusal(dataset, tmp_path)
    assert any(part in line for part in ("where its slices lie", "place of its slices", "directions", "orientation"))


def test_an_orientation_in_another_frame_of_reference_than_the_positions_is_refused(tmp_path):
    dataset = enhanced_us([VOLUME])
    orientation = [float(v) for v in shared(dataset).PlaneOrientationVolumeSequence[0].ImageOrientationVolume]
    del shared(dataset).PlaneOrientationVolumeSequence
    shared(dataset).PlaneOrientationSequence = item("ImageOrientationPatient", orientation)
    assert "where its slices lie" in refusal(dataset, tmp_path)


def test_a_slice_that_is_turned_is_refused(tmp_path):
    dataset = enhanced_us([VOLUME])
    own(dataset, 4).PlaneOrientationVolumeSequence = item("ImageOrientationVolume", [1.0, 0, 0, 0, 1, 0])
    assert "not parallel" in refusal(dataset, tmp_path)


@pytest.mark.parametrize("spacing", [[4.5, 4.1], [4.4, 4.0], [0, 4], [-4.5, 4.0], [4.5], ["4.5", "1e300"]])
def test_frames_with_another_pixel_size_are_refused(tmp_path, spacing):
    dataset = enhanced_us([VOLUME])
    own(dataset, 4).PixelMeasuresSequence = item("PixelSpacing", spacing)
    line = refusal(dataset, tmp_path)
    assert "size of the pixels differs" in line or "voxel size is" in line or "size of its pixels is missing" in line


def test_a_missing_pixel_size_is_refused(tmp_path):
    dataset = enhanced_us([VOLUME])
    del shared(dataset).PixelMeasuresSequence
    assert "size of its pixels is missing" in refusal(dataset, tmp_path)


@pytest.mark.parametrize("keyword", ["SpacingBetweenSlices", "SliceThickness"])
def test_a_slice_distance_that_contradicts_the_positions_is_named(tmp_path, keyword):
    dataset = enhanced_us([VOLUME])
    measures = shared(dataset).PixelMeasuresSequence[0]
    measures.SliceThickness = 5.0
    setattr(measures, keyword, 2.5)
    found = read(dataset, tmp_path)
    assert found.spacing == pytest.approx((4.0, 4.5, 5.0))
    assert f"5 mm by their positions but 2.5 mm by {keyword}" in found.warnings[0]
    # an overlap is no contradiction where the distance itself is stated
    measures.SpacingBetweenSlices, measures.SliceThickness = 5.0, 2.5
    assert read(dataset, tmp_path).warnings == ()


def test_positions_that_are_slightly_off_are_named(tmp_path):
    dataset = enhanced_us([VOLUME])
    moved(dataset, 4, up(0.2))
    (line,) = read(dataset, tmp_path).warnings
    assert "4.8 to 5.2 mm" in line
    dataset = enhanced_us([VOLUME])
    for number in range(18):
        moved(dataset, number, 0.5 * number * (LPS_TO_RAS @ VOLUME.ijk_to_ras)[:3, 0] / 4.0)
    found = read(dataset, tmp_path)
    assert "84.3 degrees by their positions but at 90 by their orientation" in found.warnings[0]
    last = LPS_TO_RAS @ [*own(dataset, 17).PlanePositionVolumeSequence[0].ImagePositionVolume, 1.0]
    assert np.allclose((found.ijk_to_ras @ [0, 0, 17, 1])[:3], last[:3])


@pytest.mark.parametrize(
    ("number", "by", "line"),
    [
        (4, up(2.0), "not evenly spaced"),
        (17, up(5.0), "not evenly spaced"),
        (4, up(5.0), "on top of each other"),
        (4, [50.0, 80.0, 0.0], "its slices"),
        (4, [float("nan"), 0, 0], "not a number"),
        (4, [1e308, 0, 0], "not a number"),
    ],
)
def test_positions_that_contradict_each_other_are_refused(tmp_path, number, by, line):
    dataset = enhanced_us([VOLUME])
    moved(dataset, number, by)
    assert line in refusal(dataset, tmp_path)


def test_positions_along_the_slices_are_refused(tmp_path):
    dataset = enhanced_us([VOLUME])
    for number in range(18):
        moved(dataset, number, 5.0 * number * (LPS_TO_RAS @ VOLUME.ijk_to_ras)[:3, 0] / 4.0)
    assert "contradict their orientation (45 degrees apart)" in refusal(dataset, tmp_path)


@pytest.mark.parametrize("spoil", ["positions", "groups", "shared"])
def test_functional_groups_that_are_missing_are_refused(tmp_path, spoil):
    dataset = enhanced_us([VOLUME])
    if spoil == "positions":
        del own(dataset, 7).PlanePositionVolumeSequence
    elif spoil == "groups":
        del dataset.PerFrameFunctionalGroupsSequence
    else:
        del dataset.SharedFunctionalGroupsSequence
    assert "where its slices lie" in refusal(dataset, tmp_path)


# --- over time


def test_volumes_over_time_that_differ_or_are_not_told_apart_are_refused(tmp_path):
    second = VOLUME.with_(array=VOLUME.array[::-1].copy())
    dataset = enhanced_us([VOLUME, second])
    del own(dataset, 20).TemporalPositionSequence
    assert "does not say of every slice" in refusal(dataset, tmp_path)
    dataset = enhanced_us([VOLUME, second])
    own(dataset, 20).TemporalPositionSequence[0].TemporalPositionTimeOffset = float("nan")
    assert "times of its slices are no numbers" in refusal(dataset, tmp_path)
    own(dataset, 20).TemporalPositionSequence[0].TemporalPositionTimeOffset = 0.25
    assert "differ in their number of slices (1 to 18)" in refusal(dataset, tmp_path)


def test_each_volume_over_time_has_its_own_place(tmp_path):
    dataset = enhanced_us([VOLUME, VOLUME])
    for number in range(18, 36):
        moved(dataset, number, [1.0, 2.0, 3.0])
    save(dataset, tmp_path / "v.dcm")
    first, second = read_sequence(tmp_path / "v.dcm")[:]
    assert np.allclose(second.ijk_to_ras[:3, 3] - first.ijk_to_ras[:3, 3], [-1, -2, 3])


def test_slices_each_of_another_moment_are_no_volume(tmp_path):
    dataset = enhanced_us([VOLUME])
    for number in range(18):
        own(dataset, number).TemporalPositionSequence[0].TemporalPositionTimeOffset = 0.1 * number
    assert "slices each of another moment" in refusal(dataset, tmp_path)


# --- folders of single slices


def folder_refusal(tmp_path, spoil) -> str:
    datasets = slices_of(VOLUME)
    spoil(datasets)
    for number, dataset in enumerate(datasets):
        save(dataset, tmp_path / f"{number:02d}.dcm")
    with pytest.raises(InputError) as caught:
        read_volume(tmp_path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda s: delattr(s[3], "ImagePositionPatient"), "without a position"),
        (lambda s: delattr(s[3], "ImageOrientationPatient"), "without a position"),
        (lambda s: delattr(s[3], "PixelSpacing"), "size of its pixels is missing"),
        (lambda s: setattr(s[3], "PixelSpacing", [4.5, 3.0]), "size of the pixels differs"),
        (lambda s: setattr(s[3], "ImageOrientationPatient", [1, 0, 0, 0, 1, 0]), "not parallel"),
        (lambda s: s.__delitem__(3), "not evenly spaced"),
        (lambda s: s.append(s[3]), "on top of each other"),
        (lambda s: setattr(s[3], "Rows", 16), "differ in size"),
    ],
)
def test_slices_that_make_no_volume_are_refused(tmp_path, spoil, line):
    assert line in folder_refusal(tmp_path, spoil)


def test_slices_that_state_another_distance_are_read_with_a_warning(tmp_path):
    for number, dataset in enumerate(slices_of(VOLUME)):
        dataset.SpacingBetweenSlices = 3.0
        save(dataset, tmp_path / f"{number:02d}.dcm")
    found = read_volume(tmp_path)
    assert np.allclose(found.ijk_to_ras, VOLUME.ijk_to_ras, atol=1e-6)
    assert "5 mm by their positions but 3 mm by SpacingBetweenSlices" in found.warnings[0]
