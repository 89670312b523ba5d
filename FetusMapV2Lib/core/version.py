"""The version of FetusMapV2, written in this file alone."""

__version__ = "0.1.0"
#: Name and version, as results state them.
SOFTWARE = f"FetusMapV2 {__version__}"
