"""Slicer's `ctk` module as far as the panel uses it."""

import qt

class ctkPathLineEdit(qt.QWidget):
    Dirs: int
    Files: int
    AdjustToMinimumContentsLength: int
    currentPath: str
    filters: int
    nameFilters: list[str]
    settingKey: str
    sizeAdjustPolicy: int
    minimumContentsLength: int
    def addCurrentPathToHistory(self) -> None: ...

class ctkCollapsibleButton(qt.QWidget):
    text: str
    collapsed: bool
