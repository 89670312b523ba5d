"""Stand-in for Slicer's SampleData module: the list of sources, and the click that loads one.

Names are those of Slicer from 5.10 on: a source has `loadFileTypes`; `loadFileType` is accepted, but no attribute.
"""

from __future__ import annotations

from pathlib import Path

import slicer

_LISTS = ("uris", "fileNames", "nodeNames", "loadFileTypes")


class SampleDataSource:
    """One entry; the fields of single files become lists, as in Slicer."""

    def __init__(
        self,
        sampleName=None,
        uris=None,
        fileNames=None,
        nodeNames=None,
        customDownloader=None,
        thumbnailFileName=None,
        loadFileTypes=None,
        loadFileType=None,
    ):
        if loadFileType is not None and loadFileTypes is not None:
            raise ValueError("loadFileType and loadFileTypes cannot be specified at the same time")
        self.sampleName, self.customDownloader = sampleName, customDownloader
        self.uris, self.fileNames, self.nodeNames = uris, fileNames, nodeNames
        self.loadFileTypes = loadFileType if loadFileTypes is None else loadFileTypes
        self.thumbnailFileName = thumbnailFileName
        for name in _LISTS:
            value = getattr(self, name)
            setattr(self, name, [value] if isinstance(uris, str) else list(value))
        if len({len(getattr(self, name)) for name in _LISTS}) != 1:
            raise ValueError("All fields of sample data source must have the same length")
        if not Path(thumbnailFileName).is_file():
            raise FileNotFoundError(thumbnailFileName)

    def __eq__(self, other):
        return vars(self) == vars(other)

    def click(self):
        """Load the sample, as the button of the entry does."""
        return self.customDownloader(self)


class SampleDataLogic:
    @staticmethod
    def registerCustomSampleDataSource(category="Custom", **fields):
        if not hasattr(slicer.modules, "sampleDataSources"):
            slicer.modules.sampleDataSources = {}
        sources = slicer.modules.sampleDataSources.setdefault(category, [])
        source = SampleDataSource(**fields)
        if source not in sources:
            sources.append(source)

    @staticmethod
    def sampleDataSourcesByCategory(category=None):
        sources = getattr(slicer.modules, "sampleDataSources", {})
        return sources if category is None else sources.get(category, [])
