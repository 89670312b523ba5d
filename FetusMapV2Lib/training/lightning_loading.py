"""Lightning, loaded after torch's compiler; else it would load that with Triton (`memory.compiler`)."""

from __future__ import annotations

from FetusMapV2Lib.memory.compiler import load_compiler

load_compiler()

import lightning.pytorch as pl  # noqa: E402 - after the compiler
from lightning.pytorch.loggers import TensorBoardLogger  # noqa: E402

__all__ = ["TensorBoardLogger", "pl"]
