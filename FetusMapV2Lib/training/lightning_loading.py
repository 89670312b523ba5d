"""Lightning, after torch's compiler, else it would load that with Triton (`memory.compiler`), and with few metrics."""

from __future__ import annotations

from FetusMapV2Lib.memory.compiler import load_compiler
from FetusMapV2Lib.training.metrics_loading import load_metric_bases

load_compiler()
load_metric_bases()

import lightning.pytorch as pl  # noqa: E402 - after both
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
