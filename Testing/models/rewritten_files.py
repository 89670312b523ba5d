"""Model files whose description or tensors were changed after they were written."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from FetusMapV2Lib.models.model_file import FORMAT


def rewritten(path: Path, tensors: dict[str, torch.Tensor] | None = None, **changes: object) -> Path:
    """Rewrite a model file with other tensors, or with fields of its description changed."""
    with safe_open(path, framework="pt") as content:
        header = json.loads(content.metadata()[FORMAT])
    save_file(tensors or load_file(path), path, metadata={FORMAT: json.dumps({**header, **changes})})
    return path
