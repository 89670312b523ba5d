"""Conv-BN-ReLU passes become reversible blocks (REV): another network of as many weights, chosen before it is trained.

The planner cannot turn it on for a network that is there: `memory.paper.framework` says which passes pay, and
`memory.paper.conversion.convert` makes them.
"""

from __future__ import annotations

from FetusMapV2Lib.memory.strategies.base import Strategy


class ReversibleBlocks(Strategy):
    """Inputs are recomputed from outputs."""

    name = "reversible"
    summary = "replace Conv-BN-ReLU passes by reversible blocks; changes the network (REV)"
    changes_network = True
