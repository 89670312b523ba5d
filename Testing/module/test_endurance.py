"""Many estimates and clicks leave nothing behind; the long form is `robustness/panel_endurance.py`."""

from __future__ import annotations

from typing import Any


def test_estimates_and_clicks_leave_as_many_nodes_observers_references_and_jobs(
    four_views: None, open_window: Any, volume: Any, scene: Any
) -> None:
    from FetusMapV2Panel import selftest
    from robustness.panel_endurance import census, doubting_engine, endure, grown

    volumes = [volume, selftest.addVolume(scene)]
    window = open_window(doubting_engine)
    endure(window, volumes, 2, 19)
    before = census(scene)
    endure(window, volumes, 3, 19)
    assert not grown(before, census(scene))
