"""The version of FetusMapV2, written in this file alone."""

__version__ = "0.1.0"
