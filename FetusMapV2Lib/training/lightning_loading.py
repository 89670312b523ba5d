"""Lightning, loaded after torch's compiler; else it would load that with Triton (`memory.compiler`)."""

from __future__ import annotations

from FetusMapV2Lib.memory.compiler import load_compiler

load_compiler()

import lightning.pytorch as pl  # noqa: E402 - after the compiler
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment  # noqa: E402
from lightning.fabric.plugins.environments.lightning import LightningEnvironment  # noqa: E402
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment  # noqa: E402
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment  # noqa: E402
from lightning.pytorch.loggers import TensorBoardLogger  # noqa: E402
from lightning.pytorch.strategies import DDPStrategy  # noqa: E402
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher  # noqa: E402

#: What starts further processes; Lightning has no public name for it.
ProcessLauncher = _SubprocessScriptLauncher

__all__ = [
    "ClusterEnvironment",
    "DDPStrategy",
    "LightningEnvironment",
    "ProcessLauncher",
    "SLURMEnvironment",
    "TensorBoardLogger",
    "TorchElasticEnvironment",
    "pl",
]
