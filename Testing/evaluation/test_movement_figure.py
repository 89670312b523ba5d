"""The figure of a movement: bands of angles lie inside their panels, movements are named."""

from __future__ import annotations

import numpy as np
from anatomy.moving_bodies import SCHEMA, bent_elbow

from FetusMapV2Lib.anatomy.movement import analyse_movement
from FetusMapV2Lib.evaluation import movement_figure


def test_no_band_is_clipped_and_the_movement_is_named(tmp_path, monkeypatch):
    frames = bent_elbow(np.concatenate([np.zeros(8), np.linspace(10, 80, 6), np.full(8, 80.0)]))
    radii = np.where(np.arange(22)[:, None] % 5 == 0, 9.0, 2.0) * np.ones(frames.shape[:2])
    movement = analyse_movement(frames, SCHEMA, 0.25 * np.arange(22), radii)
    monkeypatch.setattr(movement_figure.plt, "close", lambda figure: None)
    movement_figure.write_movement_figure(tmp_path / "m.png", movement, "A movement")
    figure = movement_figure.plt.gcf()
    bands = [(axes, band) for axes in figure.axes for band in axes.collections]
    assert len(bands) == len(movement.angle_list)
    for axes, band in bands:
        low, high = axes.get_ylim()
        heights = np.concatenate([path.vertices[:, 1] for path in band.get_paths()])
        assert low < heights.min() and heights.max() < high
    texts = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert "arm" in texts
    monkeypatch.undo()
    movement_figure.plt.close(figure)
