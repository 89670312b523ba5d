"""`fetusmap demo`: one case from the volume to the picture."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_demonstration(fetusmap, tmp_path: Path) -> None:
    answer = fetusmap("demo", "--output", tmp_path / "demo")
    assert answer.code == 0, answer.err
    assert "truth" in answer.out and "Crown-rump" in answer.out
    names = {path.name for path in (tmp_path / "demo").iterdir()}
    assert {"case-0000.nrrd", "case-0000.estimate.mrb", "case-0000.estimate.png"} <= names
    assert "case-0000.estimate.report.html" in names
    assert answer.out.rstrip().endswith(f"fetusmap serve {tmp_path / 'demo'}")
    again = fetusmap("demo", "--output", tmp_path / "demo")
    assert again.code == 2 and "--overwrite" in again.errors()[0]


def test_without_any_model_the_demonstration_says_so_at_once(fetusmap, tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("slicer")
    from FetusMapV2Lib.models import model_index
    from FetusMapV2Lib.phantom import simulated_case

    monkeypatch.setattr(model_index, "list_models", lambda index=None: ())
    monkeypatch.setattr(simulated_case, "simulate_case", lambda *_, **__: pytest.fail("simulated in vain"))
    answer = fetusmap("demo", "--output", tmp_path / "demo")
    assert answer.code == 2 and "no model is installed" in answer.errors()[0]
    assert not (tmp_path / "demo").exists()
