"""Fetal pose estimation in 3D ultrasound: everything of FetusMapV2 that runs without Qt.

Importing this package imports nothing else; import the room you need.
"""

__version__ = "0.1.0"
