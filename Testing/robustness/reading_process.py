"""A process that reads one file after another, with limits: `python reading_process.py product|witness`.

A request is a line of JSON with kind and path; the answer says what came out. It may crash or hang: the caller sees it.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

#: Memory that reading a small file may take beyond what the libraries hold, bytes.
ALLOWANCE = 1 << 30


def main() -> None:
    role = sys.argv[1]
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    warnings.simplefilter("ignore")
    answer = _product() if role == "product" else _witness()
    _limit_memory()
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        request = json.loads(line)
        answers.write(json.dumps(answer(request["kind"], Path(request["path"]))) + "\n")
        answers.flush()


def _limit_memory() -> None:
    """POSIX alone has such limits; elsewhere the campaign still finds crashes, hangs and exceptions."""
    try:
        import resource
    except ImportError:
        return
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if os.name == "posix" else 0
    resource.setrlimit(resource.RLIMIT_AS, (used + ALLOWANCE, -1))


def _witness() -> Callable[[str, Path], Any]:
    from robustness.witnesses import readings

    return lambda kind, path: [_digest(frames, [matrix] * len(frames)) for frames, matrix in readings(path)]


def _product() -> Callable[[str, Path], Any]:
    from FetusMapV2Lib.core.errors import UserError
    from FetusMapV2Lib.remote.messages import MessageError

    readers = _readers()

    def answer(kind: str, path: Path) -> dict[str, Any]:
        try:
            return {"outcome": "read", **readers[kind](path)}
        except (UserError, MessageError) as error:
            line = error.line() if isinstance(error, UserError) else str(error)
            whole = line.isprintable() and bool(line)
            return {"outcome": "refused" if whole else "exception", "line": ascii(line)}
        except BaseException as error:
            return {"outcome": "exception", "line": ascii(f"{type(error).__name__}: {error}")[:300]}

    return answer


def _readers() -> dict[str, Callable[[Path], dict[str, Any]]]:
    from robustness.witnesses import kretz_facts, kretz_inside

    from FetusMapV2Lib.anatomy.schema import Schema
    from FetusMapV2Lib.core.manifests import MANIFESTS, read_manifest
    from FetusMapV2Lib.imaging.case_search import CaseFiles
    from FetusMapV2Lib.imaging.formats.kretz import parse_kretz
    from FetusMapV2Lib.imaging.markups import read_markups
    from FetusMapV2Lib.imaging.reading import read_sequence
    from FetusMapV2Lib.imaging.study import read_study
    from FetusMapV2Lib.models.model_file import load_model, read_info
    from FetusMapV2Lib.models.model_index import list_models, verify
    from FetusMapV2Lib.remote import messages, payloads
    from FetusMapV2Lib.training.checkpoints import read_checkpoint
    from FetusMapV2Lib.training.preset import load_preset

    def volume(path: Path) -> dict[str, Any]:
        frames = read_sequence(path)
        volumes = [frames[number] for number in range(min(len(frames), 4))]
        if path.suffix == ".dcm":
            read_study(path)
        stored = kretz_inside(path.read_bytes()) if path.suffix in (".vol", ".dcm") else None
        if stored is not None:  # compared before the scan conversion, which no independent reader does
            kretz = parse_kretz(stored, path)
            facts = kretz.resolution_mm, kretz.first_mm, kretz.bend_mm, kretz.theta, kretz.phi, kretz.cartesian_mm or 0
            digest = _digest(kretz.frames, [kretz_facts(*facts)] * len(kretz.frames))
            return {**digest, "warnings": list(kretz.notes)}
        digest = _digest([v.array for v in volumes], [v.ijk_to_ras for v in volumes])
        return {**digest, "count": len(frames), "warnings": list(dict.fromkeys(w for v in volumes for w in v.warnings))}

    def model(path: Path) -> dict[str, Any]:
        read_info(path)
        return {"identity": load_model(path).identity}

    def index(path: Path) -> dict[str, Any]:
        return {"models": len(list_models(path)), "good": len(list(verify(index=path)))}

    def answer(path: Path) -> dict[str, Any]:
        message = messages.answer_from(path.read_text(encoding="utf-8", errors="replace"))
        if isinstance(message, messages.Result):
            payloads.estimate_from(message.result)
        return {}

    def question(path: Path) -> dict[str, Any]:
        text = path.read_text(encoding="utf-8", errors="replace")
        message = messages.question_from(text.replace('"a.npy"', json.dumps(str(path.parent / "a.npy"))))
        payloads.request_from(message.command, message.request)
        return {}

    def known_case(path: Path) -> dict[str, Any]:
        return {"fetus_present": CaseFiles(path.stem, path, path, path).fetus_present}

    def manifest(path: Path) -> dict[str, Any]:
        folder = path.parent / MANIFESTS
        folder.mkdir(exist_ok=True)
        (folder / path.name).write_bytes(path.read_bytes())
        found = read_manifest(path.parent, path.stem)
        return {"complete": found is not None and found.is_complete(path.parent)}

    def checkpoint(path: Path) -> dict[str, Any]:
        return {"keys": sorted(read_checkpoint(path))}

    return {
        "volume": volume,
        "slices": volume,
        "case": known_case,
        "manifest": manifest,
        "checkpoint": checkpoint,
        "markups": lambda path: {"positions": _rounded(read_markups(path).positions)},
        "model": model,
        "index": index,
        "preset": lambda path: {"preset": repr(load_preset(path))},
        "schema": lambda path: {"schema": Schema.load(path).fingerprint},
        "estimate message": answer,
        "volume message": question,
        "scene": _scene,
    }


def _scene(path: Path) -> dict[str, Any]:
    from FetusMapV2Lib.scene.scene_files import close_scene, load_scene

    scene = load_scene(path)
    try:
        return {"nodes": scene.GetNumberOfNodes()}
    finally:
        close_scene(scene)


def _rounded(values: np.ndarray) -> list[list[float | None]]:
    return [[None if np.isnan(v) else round(float(v), 6) for v in row] for row in values]


def _digest(frames: list[np.ndarray], matrices: Iterable[np.ndarray | None]) -> dict[str, Any]:
    """Voxels as a checksum of their values, whatever their type, and the places of three voxels, RAS mm."""
    sums = []
    for frame in frames[:4]:
        # The product shifts negative values to start at 0; both sides are compared so.
        values = np.asarray(frame, dtype=np.float64)
        values = (values - min(0.0, float(values.min()))).astype(np.float32)
        sums.append([list(frame.shape), hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:16]])
    places = [None if m is None else np.asarray(m, dtype=float)[:3].round(4).tolist() for m in list(matrices)[:4]]
    return {"count": len(frames), "frames": sums, "places": places}


if __name__ == "__main__":
    main()
