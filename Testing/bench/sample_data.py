"""Stand-in for Slicer's SampleData module: the list of sources, and the click that loads one."""

from __future__ import annotations

from pathlib import Path

import slicer

_LISTS = ("uris", "fileNames", "nodeNames", "loadFileType")


class SampleDataSource:
    """One entry; the fields of single files become lists, as in Slicer."""

    def __init__(self, **fields):
        for name in _LISTS:
            fields[name] = [fields[name]] if isinstance(fields[name], str) else list(fields[name])
        if len({len(fields[name]) for name in _LISTS}) != 1:
            raise ValueError("All fields of sample data source must have the same length")
        if not Path(fields["thumbnailFileName"]).is_file():
            raise FileNotFoundError(fields["thumbnailFileName"])
        vars(self).update(fields)

    def __eq__(self, other):
        return vars(self) == vars(other)

    def click(self):
        """What the button of the entry does."""
        return self.customDownloader(self)


class SampleDataLogic:
    @staticmethod
    def registerCustomSampleDataSource(*, category, **fields):
        if not hasattr(slicer.modules, "sampleDataSources"):
            slicer.modules.sampleDataSources = {}
        sources = slicer.modules.sampleDataSources.setdefault(category, [])
        source = SampleDataSource(**fields)
        if source not in sources:
            sources.append(source)

    @staticmethod
    def sampleDataSourcesByCategory(category):
        return getattr(slicer.modules, "sampleDataSources", {}).get(category, [])
