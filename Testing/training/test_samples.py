"""Cases and samples: what is read, what is kept, and that a view carries its landmarks along."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from training.toy_cases import BODY, write_toy_cases

from FetusMapV2Lib.anatomy.body_frame import canonical_template
from FetusMapV2Lib.anatomy.laterality import resolve_sides
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.atomic_files import usable_folder
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.markups import write_markups
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.imaging.writing import write_volume
from FetusMapV2Lib.phantom.simulated_case import simulate_case, write_case
from FetusMapV2Lib.training.case_folder import (
    Case,
    CaseFolder,
    ReducedVolumes,
    cases_without_fetus,
    reduced,
    thinned,
)
from FetusMapV2Lib.training.preset import Preset
from FetusMapV2Lib.training.random_views import quarter_turns
from FetusMapV2Lib.training.samples import TrainingViews, ValidationViews

SCHEMA = default_schema()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    write_toy_cases(folder, 6)
    return folder


def preset(**augmentation: object) -> Preset:
    return Preset.from_dict(
        {
            "name": "toy",
            "input_size": [64, 48, 48],
            "views": {"whole": 0.5, "close": 0.5},
            "augmentation": {"rotation_deg": 20, "shift": 0.05, **augmentation},
        }
    )


def training_views(folder: Path, tmp_path: Path, **augmentation: object) -> TrainingViews:
    cases = CaseFolder(folder)
    template = canonical_template(np.stack([case.positions for case in cases.cases]), SCHEMA)
    return TrainingViews(cases.cases, ReducedVolumes(tmp_path, 3.0), preset(**augmentation), template, 5)


def test_the_quarter_turns_are_the_24_proper_ones() -> None:
    turns = quarter_turns()
    assert len(np.unique(turns.round().reshape(24, 9), axis=0)) == 24
    assert np.allclose(np.linalg.det(turns), 1)
    assert np.array_equal(turns[0], np.eye(3))


@pytest.mark.parametrize("stretched", [0.0, 1.0])
@pytest.mark.parametrize("mirror", [0.0, 1.0])
def test_landmarks_move_with_the_picture(folder: Path, tmp_path: Path, mirror: float, stretched: float) -> None:
    """At every landmark of every view there is a bright ball, whatever turn, scale and build, mirrored or not."""
    views = training_views(folder, tmp_path, mirror=mirror)
    views.preset = views.preset.with_overrides({"proportions.probability": stretched})
    seen = set()
    for index in range(24):
        sample = views[index]
        seen.add(int(sample["view"]))
        if not sample["present"]:
            continue
        points = sample["points"][torch.isfinite(sample["points"]).all(dim=1)]
        assert len(points) >= 20
        i, j, k = points.round().long().clamp(min=0).T
        image = sample["image"][0]
        k, j, i = (axis.clamp(max=size - 1) for axis, size in zip((k, j, i), image.shape, strict=True))
        assert float(image[k, j, i].median()) > 4 * float(image[image > 0].median())
        world = (sample["grid_to_ras"][:3, :3] @ sample["points"].double().T).T + sample["grid_to_ras"][:3, 3]
        error = (world - sample["positions"]).norm(dim=1)
        assert float(error[error.isfinite()].max()) < 1e-3
        assert (float(torch.linalg.det(sample["grid_to_ras"][:3, :3])) < 0) == bool(mirror)
        if not mirror:
            truth = torch.from_numpy(views.cases[int(sample["case"])].positions)
            assert torch.allclose(sample["positions"], truth) != bool(stretched)
    assert seen == {0, 1}


def test_tight_views_show_the_body_larger_than_close_ones(folder: Path, tmp_path: Path) -> None:
    plain = training_views(folder, tmp_path)
    views = TrainingViews(
        plain.cases, plain.volumes, plain.preset.with_overrides({"views.tight": 2.0}), plain.template, 5
    )
    spacings: dict[int, list[float]] = {}
    for index in range(60):
        sample = views[index]
        if sample["present"]:
            spacing = float(torch.linalg.det(sample["grid_to_ras"][:3, :3]).abs() ** (1 / 3))
            spacings.setdefault(int(sample["view"]), []).append(spacing)
            assert int(torch.isfinite(sample["points"]).all(dim=1).sum()) >= 18
    assert set(spacings) == {0, 1, 3} and len(spacings[3]) > len(spacings[1])
    assert np.median(spacings[3]) < 0.85 * np.median(spacings[1])


def test_tight_views_are_validated_where_they_are_trained(folder: Path, tmp_path: Path) -> None:
    plain = training_views(folder, tmp_path)
    shown = [
        int(sample["view"])
        for sample in ValidationViews(
            plain.cases[:1], plain.volumes, plain.preset.with_overrides({"views.tight": 2.0}), plain.template
        )
    ]
    assert shown == [0, 1, 3]


def test_a_mirrored_fetus_has_its_left_on_the_other_side(folder: Path, tmp_path: Path) -> None:
    plain, turned = training_views(folder, tmp_path)[0], training_views(folder, tmp_path, mirror=1.0)[0]
    assert torch.equal(turned["image"].flip(-1), plain["image"])
    left, right = SCHEMA.rows("la"), SCHEMA.rows("ra")
    assert torch.equal(turned["positions"][list(left)], plain["positions"][list(right)])
    points = turned["points"].double().numpy()
    known = np.isfinite(points).all(axis=1)
    assert known.sum() > 10
    # in a image taken for a real, unmirrored body, Eq. 7 finds the sides that the sample says
    _, laterality = resolve_sides(points, SCHEMA)
    assert not laterality.arms_swapped
    assert not laterality.legs_swapped


def test_samples_depend_on_seed_and_index_alone(folder: Path, tmp_path: Path) -> None:
    views, again = training_views(folder, tmp_path), training_views(folder, tmp_path)
    np.random.seed(1)  # noqa: NPY002 - the global state must not matter
    backwards = [again[index] for index in (9, 4)]
    for sample, other in zip((views[9], views[4]), backwards, strict=True):
        assert all(torch.equal(sample[key].nan_to_num(-1), other[key].nan_to_num(-1)) for key in sample)
    assert not torch.equal(views[3]["image"], views[3 + len(views.cases)]["image"])


def test_every_case_comes_once_an_epoch_in_changing_order(folder: Path, tmp_path: Path) -> None:
    views = training_views(folder, tmp_path)
    count = len(views.cases)
    epochs = [[int(views[epoch * count + place]["case"]) for place in range(count)] for epoch in range(4)]
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_a_view_without_fetus_has_no_points(folder: Path, tmp_path: Path) -> None:
    views = training_views(folder, tmp_path)
    empty = [sample for sample in (views[index] for index in range(18)) if not sample["present"]]
    assert empty
    assert all(bool(sample["points"].isnan().all()) for sample in empty)


def test_whole_views_keep_the_fetus_inside(folder: Path, tmp_path: Path) -> None:
    """Also when the long side of the volume is turned onto a short side of the view."""
    views = training_views(folder, tmp_path, rotation_deg=0.0, shift=0.0, scale=[0.95, 1.05])
    whole = [sample for sample in (views[index] for index in range(40)) if int(sample["view"]) == 0]
    for sample in whole:
        if sample["present"]:
            assert bool(torch.isfinite(sample["points"]).all())


# --- distorted pictures, fields of view and volumes without a fetus


def distorted_views(
    folder: Path, tmp_path: Path, negatives: tuple[Case, ...] = (), **distortions: object
) -> TrainingViews:
    cases = CaseFolder(folder)
    template = canonical_template(np.stack([case.positions for case in cases.cases]), SCHEMA)
    chosen = Preset.from_dict({**preset().to_dict(), "normalisation": "plausible", "distortions": distortions})
    return TrainingViews(cases.cases, ReducedVolumes(tmp_path, 3.0), chosen, template, 5, negatives=negatives)


def test_distortions_change_the_share_of_samples_that_they_may(folder: Path, tmp_path: Path) -> None:
    """The others are as they would be without; the landmarks stay where they are."""
    plain = distorted_views(folder, tmp_path, share=0.0, gain={"probability": 1.0})
    some = distorted_views(folder, tmp_path, share=0.5, s_curve={"probability": 1.0})
    whole = distorted_views(folder, tmp_path, share=1.0, s_curve={"probability": 1.0})
    assert not torch.equal(plain[3]["image"], whole[3]["image"])
    assert len({torch.equal(some[n]["image"], whole[n]["image"]) for n in range(12)}) == 2
    assert torch.equal(whole[3]["image"], distorted_views(folder, tmp_path, s_curve={"probability": 1.0})[3]["image"])


def test_a_field_of_view_shows_nothing_outside_and_loses_what_it_cuts(folder: Path, tmp_path: Path) -> None:
    field = {"probability": 1.0, "margin_mm": [3, 8], "cut": 0.5, "cut_mm": [8, 20]}
    views = distorted_views(folder, tmp_path, field_of_view=field)
    cut, black = [], []
    for index in range(40):
        sample = views[index]
        if not sample["present"]:
            continue
        known = torch.isfinite(sample["points"]).all(dim=1)
        cut.append(int((~known).sum()) > 0)
        black.append(float((sample["image"] == 0).float().mean()))
        if int(sample["view"]) == 0 and not cut[-1]:
            assert inside(sample).all()
    assert 0.2 < np.mean(cut) < 0.8 and np.mean(black) > 0.3


def test_volumes_without_a_fetus_are_cases_and_surroundings(folder: Path, tmp_path: Path) -> None:
    bright = tmp_path / "negatives"
    write_volume(
        bright / "bright.nrrd", Volume(np.full((30, 30, 30), 200, np.uint8) + np.arange(30, dtype=np.uint8), np.eye(4))
    )
    negatives = tuple(cases_without_fetus(bright))
    views = distorted_views(folder, tmp_path, negatives, surroundings={"probability": 1.0, "black": 0.0})
    alone = distorted_views(folder, tmp_path, (), surroundings={"probability": 1.0, "black": 0.0})
    assert len(views.cases) == len(alone.cases) + 1
    shown = [views[index] for index in range(len(views.cases))]
    absent = [sample for sample in shown if views.cases[int(sample["case"])].name == "bright.nrrd"]
    assert len(absent) == 1 and not absent[0]["present"] and bool(absent[0]["points"].isnan().all())
    greys = [max(float(one[n]["image"].median()) for n in range(10)) for one in (views, alone)]
    assert greys[0] > greys[1]
    with pytest.raises(InputError, match="no volume"):
        cases_without_fetus(usable_folder(tmp_path / "none"))
    with pytest.raises(InputError, match="does not exist"):
        cases_without_fetus(tmp_path / "nowhere")


# --- patches


def patch_views(folder: Path, tmp_path: Path, aimed: float = 0.5, **augmentation: object) -> TrainingViews:
    """Patches of 32x24x24 voxels of 1.5 mm, a half of the toy volumes' sides."""
    chosen = Preset.from_dict(
        {
            "name": "toy",
            "input_size": [32, 24, 24],
            "network": {"widths": [2, 3]},
            "views": {"whole": 0, "patch": 1, "patch_spacing_mm": 1.5, "patch_aimed": aimed},
            "run": {"cache_spacing_mm": 1.5},
            "augmentation": {"scale": [0.9, 1.1], **augmentation},
        }
    )
    cases = CaseFolder(folder)
    template = canonical_template(np.stack([case.positions for case in cases.cases]), SCHEMA)
    return TrainingViews(cases.cases, ReducedVolumes(tmp_path, 1.5), chosen, template, 5)


def inside(sample: dict[str, torch.Tensor]) -> torch.Tensor:
    limits = torch.tensor(sample["image"].shape[:0:-1]) - 0.5
    return ((sample["points"] >= -0.5) & (sample["points"] <= limits)).all(dim=1)


def test_patches_know_where_all_landmarks_are(folder: Path, tmp_path: Path) -> None:
    """Inside there is a ball at each; outside they are not missing, unless they are missing in the case."""
    views = patch_views(folder, tmp_path, rotation_deg=10.0, mirror=0.5)
    views.cases[0].positions[4] = np.nan
    seen = 0
    for index in range(30):
        sample = views[index]
        assert int(sample["view"]) == 2
        known = torch.isfinite(sample["points"]).all(dim=1)
        expected = 21 if int(sample["case"]) == 0 else 22
        assert int(known.sum()) == (expected if sample["present"] else 0)
        within = inside(sample)
        seen += int(within.sum())
        i, j, k = sample["points"][within].round().long().T
        assert (sample["image"][0][k, j, i] > 0.15).all()  # the background is below 0.06
    assert seen > 60


def test_aimed_patches_hold_a_landmark(folder: Path, tmp_path: Path) -> None:
    aimed, anywhere = (patch_views(folder, tmp_path, share, scale=[0.4, 0.5]) for share in (1.0, 0.0))
    hits = [[bool(inside(views[n]).any()) for n in range(60) if views[n]["present"]] for views in (aimed, anywhere)]
    assert all(hits[0])
    assert 0.05 < np.mean(hits[1]) < 0.9
    empty = [views for n in range(12) if not (views := aimed[n])["present"]]
    assert empty and not any(inside(sample).any() for sample in empty)


def test_patches_stay_in_the_volume_and_are_turned(folder: Path, tmp_path: Path) -> None:
    views = patch_views(folder, tmp_path)
    turns = set()
    for index in range(40):
        sample = views[index]
        shape = np.array(sample["image"].shape[:0:-1])
        corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * shape - 0.5
        matrix = sample["grid_to_ras"].numpy()
        world = corners @ matrix[:3, :3].T + matrix[:3, 3]
        assert (np.abs(world).max(axis=0) <= np.array([36, 36, 48]) + 1e-6).all()  # the volume's half sides
        turns.add(tuple(np.round(matrix[:3, :3] / np.linalg.norm(matrix[:3, 0])).ravel()))
    assert len(turns) > 12


def test_a_patch_is_as_bright_as_the_volume_it_is_cut_from(folder: Path, tmp_path: Path) -> None:
    """The percentile is that of the whole volume: speckle alone is not blown up to the brightness of a ball."""
    views = patch_views(folder, tmp_path, aimed=0.0, scale=[0.3, 0.4])
    dark = [sample for n in range(60) if (sample := views[n])["present"] and not inside(sample).any()]
    assert dark
    assert min(float(sample["image"].max()) for sample in dark) < 0.2


def test_validation_looks_at_the_patch_with_most_landmarks(folder: Path, tmp_path: Path) -> None:
    views = patch_views(folder, tmp_path)
    held_out = ValidationViews(views.cases[:3], views.volumes, views.preset, views.template)
    assert len(held_out) == 3
    counts = [int(inside(held_out[number]).sum()) for number in range(3)]
    assert min(counts) >= 6 and max(counts) < 22
    assert all(int(held_out[number]["view"]) == 2 for number in range(3))


def test_validation_looks_at_each_case_in_each_view(folder: Path, tmp_path: Path) -> None:
    cases = CaseFolder(folder).cases[:3]
    template = canonical_template(np.stack([case.positions for case in CaseFolder(folder).cases]), SCHEMA)
    views = ValidationViews(cases, ReducedVolumes(tmp_path, 3.0), preset(), template)
    assert [(int(s["case"]), int(s["view"])) for s in (views[n] for n in range(len(views)))] == [
        (case, view) for case in range(3) for view in range(2)
    ]


def test_a_reduced_volume_keeps_its_place_in_the_world() -> None:
    array = np.zeros((30, 28, 26), dtype=np.uint8)
    array[12:18, 8:14, 4:10] = 200
    matrix = np.array([[0, 0.3, 0, 5], [0.3, 0, 0, -7], [0, 0, -0.3, 2], [0, 0, 0, 1.0]])
    volume = Volume(array, matrix)
    small = reduced(volume, 0.6)
    assert small.shape == (15, 14, 13)
    assert np.allclose(small.spacing, 0.6)

    def centroid(one: Volume) -> np.ndarray:
        kji = np.argwhere(one.array > 100).mean(axis=0)
        return one.ijk_to_ras[:3, :3] @ kji[::-1] + one.ijk_to_ras[:3, 3]

    assert np.allclose(centroid(small), centroid(volume), atol=1e-6)
    assert small.array.dtype == np.uint8
    assert small.array.max() == 200


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
def test_other_grey_types_become_8_bit(dtype: type) -> None:
    ramp = np.linspace(0, 3000, 16**3).reshape(16, 16, 16).astype(dtype)
    small = reduced(Volume(ramp, np.eye(4)), 0.5)
    assert small.array.dtype == np.uint8
    assert small.array.max() >= 249
    assert (np.diff(small.array.ravel().astype(int)) >= 0).all()


def test_the_full_volume_is_read_only_once(folder: Path, tmp_path: Path) -> None:
    cases = CaseFolder(folder).cases
    first = ReducedVolumes(tmp_path, 6.0).get(cases[0])
    backup = cases[0].volume_path.read_bytes()
    facts = cases[0].volume_path.stat()
    try:
        cases[0].volume_path.write_bytes(b"x" * len(backup))
        os.utime(cases[0].volume_path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        again = ReducedVolumes(tmp_path, 6.0).get(cases[0])
    finally:
        cases[0].volume_path.write_bytes(backup)
    assert np.array_equal(first.array, again.array)
    assert np.array_equal(first.ijk_to_ras, again.ijk_to_ras)


@pytest.mark.parametrize("damage", [lambda whole: whole[:100], lambda whole: whole[:-1] + bytes([whole[-1] ^ 1])])
def test_a_damaged_copy_is_made_again(folder: Path, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    cases = CaseFolder(folder).cases
    first = ReducedVolumes(tmp_path, 6.0).get(cases[1])
    for copy in tmp_path.iterdir():
        copy.write_bytes(damage(copy.read_bytes()))
    assert np.array_equal(ReducedVolumes(tmp_path, 6.0).get(cases[1]).array, first.array)


def test_memory_is_bounded(folder: Path, tmp_path: Path) -> None:
    cases = CaseFolder(folder).cases
    volumes = ReducedVolumes(tmp_path, 3.0, memory_bytes=2 * 32 * 24 * 24)
    for case in cases:
        volumes.get(case)
    assert len(volumes._held) == 2


def test_unannotated_cases_are_left_out_and_flagged_ones_kept(tmp_path: Path) -> None:
    volume = Volume(np.arange(16**3, dtype=np.uint8).reshape(16, 16, 16), np.eye(4))
    blank = Pose(np.full_like(BODY, np.nan))
    for name, pose, facts in (
        ("a", Pose(BODY), None),
        ("b", blank, None),
        ("c", blank, {"fetus_present": False}),
    ):
        write_volume(tmp_path / f"{name}.nrrd", volume)
        write_markups(tmp_path / f"{name}.mrk.json", pose)
        if facts:
            (tmp_path / f"{name}.json").write_text(json.dumps(facts), encoding="utf-8")
    cases = CaseFolder(tmp_path).cases
    assert [(case.name, case.fetus_present) for case in cases] == [("a", True), ("c", False)]
    (tmp_path / "a.mrk.json").unlink()
    with pytest.raises(InputError, match="landmarks"):
        CaseFolder(tmp_path)


# --- label maps


@pytest.fixture(scope="module")
def label_maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    for index in (0, 2):  # fetuses that fit into so small a volume
        case = simulate_case(33, index, shape_kji=(69, 47, 47), spacing_mm=2.0, renderer="labels")
        write_case(folder, case, index)
    return folder


def test_a_label_map_is_seen_with_another_contrast_each_time(label_maps: Path, tmp_path: Path) -> None:
    views = distorted_views(label_maps, tmp_path, share=0.0)
    assert all(case.is_label_map for case in views.cases)
    first, again, later = views[0]["image"], views[0]["image"], views[2]["image"]
    assert torch.equal(first, again) and not torch.equal(first, later)
    assert float(first.max()) > 0.5 and float((first == 0).float().mean()) < 0.9
    known = torch.isfinite(views[0]["points"]).all(dim=1)
    assert known.sum() > 15
    held_out = [ValidationViews(views.cases, views.volumes, views.preset, views.template)[0] for _ in range(2)]
    assert torch.equal(held_out[0]["image"], held_out[1]["image"])


def test_label_maps_are_thinned_not_averaged() -> None:
    labels = np.random.default_rng(0).choice(np.array([0, 7, 200], np.uint8), (21, 20, 18))
    matrix = np.diag([0.3, 0.3, 0.6, 1.0])
    small = thinned(Volume(labels, matrix), 0.6)
    assert np.allclose(small.spacing, 0.6) and np.array_equal(small.array, labels[:, ::2, ::2])
    assert np.array_equal(small.ijk_to_ras[:3, 3], matrix[:3, 3])
