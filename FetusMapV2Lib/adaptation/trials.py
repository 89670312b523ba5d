"""Shares of the new weights on trial: each judged as its model would be, and the best that nothing speaks against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from FetusMapV2Lib.adaptation.judging import Judgement, Side
from FetusMapV2Lib.models.model_file import Model


@dataclass(frozen=True, eq=False)
class Trial:
    """A share of the new weights.

    Attributes:
        share: how much of them; 0 = landmarks are moved and nothing else.
        model: averaged, with the calibration of the model before.
        after: what it sees (the site's cases: models that had not learned from them), and its own calibration.
        remarks: on that.
        judgement: against the model before.
    """

    share: float
    model: Model
    after: Side
    remarks: tuple[str, ...]
    judgement: Judgement


def best_trial(
    choices: Mapping[float, float], before_mm: float, attempt: Callable[[float], Trial]
) -> tuple[Trial, dict[float, tuple[str, ...]]]:
    """The best share that nothing speaks against, and what does against those that were passed over for it.

    If there is none, the smallest change: the report shows why it is refused.

    Args:
        choices: the error on cases not trained on, by the share of the new weights.
        before_mm: that of the model before.
        attempt: judges a share, by the rules by which the model is refused.
    """
    better = [share for share, error_mm in choices.items() if error_mm < before_mm]
    trials: dict[float, Trial] = {}
    for share in sorted(better, key=lambda share: (choices[share], share)) or [min(choices)]:
        trials[share] = attempt(share)
        if not trials[share].judgement.objections:
            break
    else:
        share = min(trials)
    chosen = trials.pop(share)
    return chosen, {other: trial.judgement.objections for other, trial in trials.items()}
