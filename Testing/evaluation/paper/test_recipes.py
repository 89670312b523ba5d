"""What a reproduction runs: every system at its own size, and nothing that differs from the paper is left unsaid."""

from __future__ import annotations

from fractions import Fraction

import pytest

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.evaluation.paper.recipes import ALL, Recipe, miniature, recipe_text, recipes
from FetusMapV2Lib.evaluation.paper.tables import paper_methods
from FetusMapV2Lib.training.preset import load_preset, preset_names

OWN = {name: name for name in preset_names()}


def sizes(scale: str, widths: list[int]) -> dict[str, tuple[int, int, int]]:
    chosen = recipes(ALL, {"network.widths": widths}, Fraction(scale))
    return {recipe.preset.name: recipe.preset.input_size for recipe in chosen}


@pytest.mark.parametrize("scale,widths", [("1/2", [8, 16, 24, 32]), ("1/4", [8, 16, 24]), ("1/8", [8, 16])])
def test_a_level_less_and_half_the_size_keep_the_ratios_exactly(scale: str, widths: list[int]) -> None:
    made = sizes(scale, widths)
    for method in paper_methods():
        if method.preset in made:
            assert [side / Fraction(scale) for side in made[method.preset]] == list(method.input_size), method.name


def test_other_scales_come_as_near_as_the_halvings_allow() -> None:
    made = sizes("0.375", [8, 16, 24, 32])
    assert made["unet"] == (64, 40, 40)  # 66, 42, 42
    assert made["ugcp"] == (72, 40, 48)  # 72, 42, 48
    assert made["urev"] == (72, 48, 48)  # 72, 48, 48
    assert made["fetusmapv2"] == (80, 48, 56)  # 78, 48, 54
    assert made["unet-l"] == (96, 64, 64)  # 96, 60, 60
    assert miniature(load_preset("unet"), Fraction(1, 100), levels=5)["input_size"] == [16, 16, 16]


def test_all_systems_of_the_paper_are_meant() -> None:
    chosen = [recipe.preset.name for recipe in recipes(ALL, {})]
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) == {method.preset for method in paper_methods()} & set(preset_names())


def test_what_differs_is_said_once_or_for_whom() -> None:
    changes = {
        "run.steps": 50,
        "network.widths": [8, 16, 24],
        "optimiser.learning_rate": 1e-3,
        "run.channels_last": True,
    }
    chosen = recipes("unet,urnn,fetusmapv2", changes, Fraction(1, 4))
    text = recipe_text(chosen, OWN, "3 cases.")
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    assert sorted(lines) == [
        "- 50 steps instead of 100 epochs",
        "- `network.boosted_level` 1 instead of 2 (urnn)",
        "- `network.widths` [8, 16, 24] instead of [40, 80, 160, 320, 640]",
        "- `optimiser.learning_rate` 0.001 instead of 0.0001",
        "- `run.cache_spacing_mm` 2.4 instead of 0.6",
        "- `run.channels_last` true instead of false",
    ]
    assert "| fetusmapv2 | 208x128x144 | 52x32x36 | gcp+rev | pair | full, trunk | its own |" in text
    assert "| unet | 176x112x112 | 44x28x28 | - | heatmap | - | its own |" in text


def test_the_papers_own_recipe_differs_in_nothing() -> None:
    chosen = recipes("unet,fetusmapv2", {})
    assert [recipe.differences for recipe in chosen] == [{}, {}]
    assert "Nothing, but for the cases." in recipe_text(chosen, OWN, "3 cases.")


def test_a_text_changes_like_a_number() -> None:
    before = load_preset("unet")
    after = before.with_overrides({"run.precision": "bf16-mixed", "memory.budget": "8GiB"})
    found = Recipe(before, after).differences
    assert found == {"run.precision": ("32-true", "bf16-mixed"), "memory.budget": ("", "8GiB")}
    assert "- `memory.budget` 8GiB instead of none" in recipe_text([Recipe(before, after)], OWN, "3 cases.")


def test_a_given_size_goes_before_the_scale() -> None:
    (recipe,) = recipes("unet", {"input_size": [64, 48, 48]}, Fraction(1, 2))
    assert recipe.preset.input_size == (64, 48, 48)


@pytest.mark.parametrize(
    "changes,scale",
    [({"input_size": [88, 64, 64]}, None), ({"input_size": [352, 224, 224]}, None), ({}, Fraction(1, 4))],
)
def test_patches_stay_as_long_as_they_were(changes: dict[str, object], scale: Fraction | None) -> None:
    plain, patches = recipes("unet,upatch", {"network.widths": [2, 3, 4], **changes}, scale)
    assert patches.preset.input_size == plain.preset.input_size
    assert patches.preset.input_size[0] * patches.preset.views.patch_spacing_mm == pytest.approx(88.0)


@pytest.mark.parametrize("levels,halvings,reduction", [(5, 2, 4), (4, 2, 2), (3, 2, 1), (2, 1, 1)])
def test_discriminators_shrink_with_the_network(levels: int, halvings: int, reduction: int) -> None:
    (recipe,) = recipes("ugan", {"network.widths": [4] * levels}, Fraction(1, 2 ** (5 - levels)))
    assert len(recipe.preset.adversarial.widths) == halvings + 1
    assert recipe.preset.adversarial.reduction == reduction


def test_a_change_that_no_preset_knows() -> None:
    with pytest.raises(UserError, match=r"no field 'optimizer\.rate'"):
        recipes("unet", {"optimizer.rate": 1.0})
