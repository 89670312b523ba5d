"""Networks from their description, as presets and model files hold it: kind, sizes, and which passes are reversible.

Joins `network` and `memory`, which do not import one another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.paper.conversion import convert, find_passes
from FetusMapV2Lib.memory.paper.framework import COUPLINGS, DEPTH
from FetusMapV2Lib.network.booster import BoostedUNet3d
from FetusMapV2Lib.network.unet import UNet3d

KINDS: dict[str, type[UNet3d]] = {"unet": UNet3d, "unet-rnn": BoostedUNet3d}


def build_network(description: Mapping[str, object]) -> UNet3d:
    """The network of a preset's or model file's description, with random weights.

    Args:
        description: ``kind`` (one of `KINDS`), the arguments of that class, and optionally ``reversible`` (see
            `described_reversible`): which Conv-BN-ReLU passes are reversible blocks of half-width branches (Eq. 1).

    Raises:
        UserError: an unknown kind or option, or a pass that cannot be reversible.
    """
    options: dict[str, Any] = dict(description)
    kind, reversible = options.pop("kind", "unet"), options.pop("reversible", None)
    if kind not in KINDS:
        raise UserError(f"unknown network kind {kind!r}", remedy=f"Known: {', '.join(KINDS)}")
    try:
        network = KINDS[kind](**options)
        if not reversible:
            return network
        couplings, depth = int(reversible["couplings"]), int(reversible["depth"])
        converted = convert(network, reversible["passes"], couplings=couplings, depth=depth)
    except (TypeError, ValueError, KeyError) as error:
        raise UserError(f"the network description cannot be used ({error})") from error
    assert isinstance(converted, UNet3d)
    converted.reversible = dict(reversible)
    return converted


def described_reversible(description: Mapping[str, object], patterns: Sequence[str]) -> dict[str, object]:
    """The ``reversible`` part of a description: paths of passes, and the shape of the blocks that replace them.

    Args:
        description: of the network without reversible blocks.
        patterns: of paths of passes, with ``*``, ``?`` and ``[...]``; passes that cannot be reversible are left out.

    Raises:
        UserError: no pass matches.
    """
    with torch.device("meta"):
        network = build_network(description)
    passes = [path for path in find_passes(network) if any(fnmatchcase(path, pattern) for pattern in patterns)]
    if not passes:
        raise UserError(
            f"no pass of the network may become reversible under {', '.join(patterns)}",
            remedy='Use patterns of module paths such as "down.*", and even widths',
        )
    return {"passes": passes, "couplings": COUPLINGS, "depth": DEPTH}
