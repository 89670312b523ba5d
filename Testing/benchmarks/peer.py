"""Our preset beside MONAI's UNet with the usual heatmap loss, on the same cases, samples and number of steps.

The peer has the preset's widths, sees the same augmented whole views in the same order, and learns Gaussian heatmaps by
mean squared error; its landmarks are the peaks. Both are tested on cases that neither saw. Every part goes on where it
was cut: training from its checkpoint, estimates case by case.

    .venv/bin/python Testing/benchmarks/peer.py --data CASES --output runs/peer [--preset unet] [--steps 2000]
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from monai.networks.nets import UNet
from torch.nn import functional as F

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.cli.console import parsed_size
from FetusMapV2Lib.core.atomic_files import atomic_write, write_json
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.estimation.network_runner import choose_device
from FetusMapV2Lib.estimation.network_views import whole_view
from FetusMapV2Lib.evaluation.accuracy_table import decimal, markdown_table, percent
from FetusMapV2Lib.evaluation.case_set import CaseSet, case_set
from FetusMapV2Lib.evaluation.comparison import compare, with_bounds
from FetusMapV2Lib.evaluation.page_blocks import fill_page
from FetusMapV2Lib.evaluation.paper.protocol import settled_folds
from FetusMapV2Lib.evaluation.predictions import ModelChoice, Prediction, predict
from FetusMapV2Lib.evaluation.statistics import Interval, bootstrap_means
from FetusMapV2Lib.imaging.grid import resample
from FetusMapV2Lib.imaging.training_cases import CaseFiles, find_cases
from FetusMapV2Lib.network.heatmap import gaussian_target
from FetusMapV2Lib.network.normalisation import normalised
from FetusMapV2Lib.training.case_folder import CaseFolder, ReducedVolumes
from FetusMapV2Lib.training.fitting import train
from FetusMapV2Lib.training.network_images import DeviceImages, HostImages
from FetusMapV2Lib.training.pose_module import learning_rate_factor
from FetusMapV2Lib.training.preset import Preset, load_preset
from FetusMapV2Lib.training.samples import TrainingViews
from FetusMapV2Lib.training.training_options import TrainingOptions

_CHECKPOINT_EVERY = 200


@dataclass(frozen=True, eq=False)
class Setting:
    """One run of the benchmark."""

    preset: Preset
    data: Path
    output: Path
    cases: CaseSet
    training: tuple[str, ...]
    tested: tuple[str, ...]
    seed: int
    device: torch.device


def main() -> None:
    """Train both, test both, print the table and the ratio."""
    arguments = _arguments()
    setting = _setting(arguments)
    ours = _ours(setting)
    theirs = _theirs(setting)
    print(text := report(setting, ours, theirs))
    if arguments.page is not None:
        fill_page(arguments.page, {"peer": text})


def _setting(arguments: argparse.Namespace) -> Setting:
    changes: dict[str, object] = {"views.close": 0.0, "views.tight": 0.0}  # the peer has the whole view alone
    if arguments.steps:
        changes["run.steps"] = arguments.steps
    if arguments.input_size:
        changes["input_size"] = list(parsed_size(arguments.input_size, "--input-size"))
    if arguments.widths:
        changes["network.widths"] = [int(width) for width in arguments.widths.split(",")]
    torch.set_num_threads(arguments.threads)
    preset = load_preset(arguments.preset).with_overrides(changes)
    cases = case_set(find_cases(arguments.data))
    arguments.output.mkdir(parents=True, exist_ok=True)
    tested, *rest = settled_folds(arguments.output, cases, arguments.folds, arguments.seed)
    training = tuple(sorted(name for part in rest for name in part))
    device, _ = choose_device(arguments.device)
    return Setting(preset, arguments.data, arguments.output, cases, training, tested, arguments.seed, device)


def _tested(setting: Setting) -> list[CaseFiles]:
    """The test cases with a fetus: the peer cannot say that there is none."""
    return [
        case
        for case, there in zip(setting.cases.cases, setting.cases.present, strict=True)
        if there and case.name in setting.tested
    ]


def _ours(setting: Setting) -> list[Prediction]:
    options = TrainingOptions(
        seed=setting.seed,
        cases=setting.training,
        resume=True,
        device=str(setting.device),
        prepare_on="device" if setting.device.type == "cuda" else "cpu",
    )
    path = train(setting.preset, setting.data, setting.output / "ours", options)
    return predict(
        ModelChoice.of(path, "ours"), _tested(setting), setting.output / "predictions", device=str(setting.device)
    )


def _theirs(setting: Setting) -> list[Prediction]:
    network, state = _trained_peer(setting)
    answers = []
    for case in _tested(setting):
        path = setting.output / "predictions" / "peer" / f"{case.name}.json"
        record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if record.get("weights") != state:
            record = {"weights": state, "positions": _peaks(network, case, setting).tolist()}
            write_json(path, record)
        positions = np.array(record["positions"])
        answers.append(Prediction(case.name, True, positions, np.full(len(positions), np.nan), np.nan, np.nan))
    return answers


def _trained_peer(setting: Setting) -> tuple[torch.nn.Module, str]:
    """MONAI's UNet after the preset's steps, and a checksum of its weights."""
    preset = setting.preset
    torch.manual_seed(setting.seed)
    widths = preset.network.widths
    network = UNet(3, 1, default_schema().count, channels=widths, strides=(2,) * (len(widths) - 1), num_res_units=2)
    network.to(setting.device)
    optimiser = torch.optim.Adam(network.parameters(), lr=preset.optimiser.learning_rate, betas=preset.optimiser.betas)
    views, steps = _views(setting)
    path = setting.output / "peer.pt"
    first = 0
    if path.exists():
        kept = torch.load(path, map_location=setting.device, weights_only=True)
        network.load_state_dict(kept["network"])
        optimiser.load_state_dict(kept["optimiser"])
        first = kept["step"]
    for step in range(first, steps):
        for group in optimiser.param_groups:  # the preset's own schedule
            group["lr"] = preset.optimiser.learning_rate * learning_rate_factor(step, steps, preset.optimiser)
        loss = _step(network, optimiser, views, step, setting)
        if (step + 1) % _CHECKPOINT_EVERY == 0 or step + 1 == steps:
            with atomic_write(path) as temporary:
                state = {"network": network.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1}
                torch.save(state, temporary)
            print(f"peer: step {step + 1} of {steps}, loss {loss:.3g}", flush=True)
    digest = hashlib.sha256()
    for weights in network.state_dict().values():
        digest.update(weights.detach().cpu().contiguous().numpy().tobytes())
    return network.eval(), digest.hexdigest()


def _views(setting: Setting) -> tuple[TrainingViews, int]:
    """Our own run's samples: its training cases without those it held out, its order, its augmentation."""
    note = _run_note(setting)
    cases = CaseFolder(setting.data, note["training"]).cases
    volumes = ReducedVolumes(setting.data / ".reduced", setting.preset.run.cache_spacing_mm)
    images = DeviceImages(setting.device) if setting.device.type == "cuda" else HostImages()
    return TrainingViews(cases, volumes, setting.preset, None, setting.seed, images), note["steps"]


def _run_note(setting: Setting) -> dict:
    """What our own run noted: its cases and its number of steps."""
    return json.loads((setting.output / "ours" / "run.json").read_text(encoding="utf-8"))


def _step(
    network: torch.nn.Module, optimiser: torch.optim.Adam, views: TrainingViews, step: int, setting: Setting
) -> float:
    batch = setting.preset.run.batch_size
    samples = [views[step * batch + place] for place in range(batch)]
    images = torch.stack([sample["image"] for sample in samples]).to(setting.device)
    points = torch.stack([sample["points"] for sample in samples]).to(setting.device)
    known = torch.isfinite(points).all(dim=-1)
    shape, sigma = setting.preset.input_size, setting.preset.sigma
    targets = torch.stack([gaussian_target(torch.nan_to_num(one), shape, sigma) for one in points])
    # peaks of 1 instead of sums of 1, whose squared error would drown in rounding
    targets = targets / targets.amax(dim=(2, 3, 4), keepdim=True).clamp_min(1e-12)
    # a volume without a fetus has empty maps; a landmark that is missing in one that has is not learned from
    there = torch.stack([sample["present"] for sample in samples]).to(setting.device)
    targets = torch.where(known[..., None, None, None], targets, 0.0)
    weights = (known | ~there[:, None]).float()
    optimiser.zero_grad(set_to_none=True)
    errors = F.mse_loss(network(images), targets, reduction="none").mean(dim=(2, 3, 4))
    loss = (errors * weights).sum() / weights.sum().clamp_min(1)
    loss.backward()
    optimiser.step()
    return float(loss.detach())


@torch.inference_mode()
def _peaks(network: torch.nn.Module, case: CaseFiles, setting: Setting) -> np.ndarray:
    """(22, 3) RAS mm of the highest voxels."""
    volume = case.volume()
    grid = whole_view(volume, setting.preset.input_size)
    image = normalised(torch.from_numpy(resample(volume, grid)), setting.preset.normalisation)[None, None]
    maps = network(image.to(setting.device))[0].cpu()
    places = np.stack(np.unravel_index(maps.flatten(1).argmax(dim=1).numpy(), maps.shape[1:]), axis=-1)
    return grid.to_world(places[:, ::-1].astype(float))


def report(setting: Setting, ours: list[Prediction], theirs: list[Prediction]) -> str:
    """Both on the same cases, the test between them, and the ratio of their mean ED with its interval."""
    cases = case_set(_tested(setting))
    ours_name, peer_name = f"fetusmap, preset {setting.preset.name}", "MONAI UNet, MSE on heatmaps"
    comparison = compare(cases, {ours_name: ours, peer_name: theirs}, {ours_name: "off", peer_name: "off"})
    rows = [
        (model.name, with_bounds(model.intervals["ed_mm"][1], decimal), with_bounds(model.intervals["auc"][1], percent))
        for model in comparison.models
    ]
    both = np.stack([model.case_ed_mm for model in comparison.models], axis=1)
    ratios = np.divide(*bootstrap_means(both).T[::-1])
    low, high = np.nanquantile(ratios, [0.025, 0.975])
    ratio = Interval(float(np.divide(*np.nanmean(both, axis=0)[::-1])), float(low), float(high))
    size = "x".join(map(str, setting.preset.input_size))
    widths = "-".join(map(str, setting.preset.network.widths))
    return "\n\n".join(
        [
            f"On {cases.volumes}: {len(setting.training)} training and {len(cases.cases)} test cases, {size} voxels, "
            f"{_run_note(setting)['steps']} steps, widths {widths}. Research use only.",
            markdown_table(("Model", "ED (mm)", "AUC"), rows),
            f"Mean ED of the peer over ours: {with_bounds(ratio, decimal)}; paired p = {comparison.tests[0].p:.2g}.",
        ]
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of annotated cases")
    parser.add_argument("--output", type=Path, default=Path("runs/peer"))
    parser.add_argument("--preset", default="unet")
    parser.add_argument("--steps", type=int, default=0, help="override the preset's number of steps")
    parser.add_argument("--input-size", default="", help="override the preset's input size")
    parser.add_argument("--widths", default="", help="override the preset's channels, for both")
    parser.add_argument("--folds", type=int, default=2, help="the first of so many parts is tested")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--page", type=Path, default=None, help="put the result between <!-- peer --> markers")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"Error: {error.line()}") from None
