"""The benchmark of the skin's edge: errors without and with it, and how often it was seen."""

from __future__ import annotations

import numpy as np
import pytest
from anatomy.bodies import bodies
from benchmarks.skin_edges import COLUMNS, main, row_of

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.anatomy.skin_landmarks import outward_directions, skin_rows
from FetusMapV2Lib.models.model_index import find_model

CREST, RUMP = default_schema().crl_rows


def test_errors_are_those_without_and_with_the_edge() -> None:
    truths = bodies(1, 5)
    out = np.stack([outward_directions(one) for one in truths])
    found = truths.copy()
    found[:, [CREST, RUMP]] -= 2.0 * out[:, [CREST, RUMP]]
    at_skin = np.full_like(truths, np.nan)
    at_skin[:4, RUMP] = truths[:4, RUMP]
    row = dict(zip(COLUMNS, row_of("here", found, at_skin, truths), strict=True))
    assert row["folder"] == "here" and row["volumes"] == "5" and row["edge seen"].startswith("20")
    assert row["Rump"] == "2.00 → 0.40" and row["Cranial crest"] == "2.00 → 2.00"
    before, after = map(float, row["CRL error (mm)"].split(" → "))
    assert 3.5 < before < 4.0 and after == pytest.approx(before * 0.6, abs=0.2)
    medians = row["CRL too long, median"].split(" → ")
    assert float(medians[0]) == pytest.approx(-before, abs=0.2) and float(medians[1]) == pytest.approx(
        -before / 2, abs=0.3
    )
    assert set(skin_rows()) >= {CREST, RUMP}


def test_a_model_that_has_them_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["nowhere", "--model", str(find_model())])
    assert "by itself" in capsys.readouterr().err
