"""What can be chosen of an adaptation."""

from __future__ import annotations

import os
from dataclasses import dataclass

from FetusMapV2Lib.core.errors import UserError


@dataclass(frozen=True)
class AdaptationOptions:
    """How a model is adapted.

    Attributes:
        model: name or file of the model to start from; None = the default model.
        negatives: folder of the site's volumes that show no fetus, without landmark files.
        minutes: that it may take, at the speed measured at the beginning.
        seed: of folds, order, augmentation and simulated cases.
        device: "auto", "cpu", "cuda" or "cuda:N".
        threads: of torch, None = torch's own choice.
        steps: of each training, None = as many as the time allows.
        folds: of the cross-validation, None = as many as the time allows.
        rehearsal: number of simulated cases, None = as many as a tenth of the time allows.

    Raises:
        UserError: fewer than two folds or six simulated cases, or no time.
    """

    model: str | os.PathLike[str] | None = None
    negatives: str | os.PathLike[str] | None = None
    minutes: float = 15.0
    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    steps: int | None = None
    folds: int | None = None
    rehearsal: int | None = None

    def __post_init__(self) -> None:
        least = {"folds": (self.folds, 2), "simulated cases": (self.rehearsal, 6), "steps": (self.steps, 1)}
        for what, (given, fewest) in least.items():
            if given is not None and given < fewest:
                raise UserError(f"{given} {what} are too few", remedy=f"Give at least {fewest}, or leave it out")
        if not self.minutes > 0:
            raise UserError("an adaptation takes time", where=f"{self.minutes:g} minutes", remedy="Give some minutes")
