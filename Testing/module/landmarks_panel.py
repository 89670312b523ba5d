"""What a user of the section of landmarks does and sees, for tests."""

from __future__ import annotations

import numpy as np

from FetusMapV2Lib.anatomy.schema import default_schema

SCHEMA = default_schema()
NAME, CONFIDENCE, STATE = range(3)
CREST, CHIN, NECK, WRIST, ELBOW = (
    SCHEMA.index(key) for key in ("cranial_crest", "chin", "hind_neck", "left_wrist", "left_elbow")
)
DOUBTFUL = (CHIN, WRIST)


def doubting_engine(device):
    """An engine stand-in that is not sure of two landmarks."""
    from FetusMapV2Panel import selftest

    class Engine(selftest.EngineStandIn):
        def estimate(self, volume, **arguments):
            found = super().estimate(volume, **arguments)
            found.pose.confidence.flags.writeable = True
            found.pose.confidence[list(DOUBTFUL)] = 0.3
            return found

    return Engine(device)


class Panel:
    """What a user of the section does and sees."""

    def __init__(self, window):
        self.window = window
        self.ui = window.module_widget.ui
        self.tree = self.ui.landmarksTree

    def estimate(self):
        self.window.click(self.ui.estimateButton)
        return self

    @property
    def fetus(self):
        return self.window.module_widget.state.poseScene

    def index(self, row: int, column: int = NAME):
        group = SCHEMA.landmarks[row].group
        model = self.tree.model()
        branch = model.index(SCHEMA.groups.index(group), 0)
        return model.index(SCHEMA.rows(group).index(row), column, branch)

    def text(self, row: int, column: int = STATE) -> str:
        return self.index(row, column).data()

    def choose(self, row: int) -> None:
        self.window.click_item(self.tree, self.index(row))

    def current(self) -> str:
        return self.tree.currentItem().text(NAME) if self.tree.currentItem() is not None else ""

    def press(self, key: str) -> None:
        import qt

        self.window.press(getattr(qt.Qt, "Key_" + key))

    def position(self, row: int) -> np.ndarray:
        return self.fetus.pose().positions[row]

    def show(self, row: int) -> None:
        """Bring a landmark into the red view."""
        import slicer

        self.window.views["Red"].view.node.JumpSlice(*self.position(row))
        slicer.app.processEvents()

    def drag(self, row: int, by_pixels=(40, -20)) -> np.ndarray:
        self.show(row)
        return np.array(self.window.drag("Red", self.position(row), by_pixels, steps=2))


def crosshair(scene) -> np.ndarray:
    return np.array(scene.GetFirstNodeByClass("vtkMRMLCrosshairNode").GetCrosshairRAS())
