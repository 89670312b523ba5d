"""One case to report, with everything that a report may say."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
from anatomy.bodies import standing_body
from pydicom.uid import generate_uid

from FetusMapV2Lib.anatomy.body_sections import BodySection, HeadAndAbdomen
from FetusMapV2Lib.anatomy.ellipse import Ellipse
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.imaging.study import SourceImage, Study
from FetusMapV2Lib.reporting.report import Picture, Report

CREATED = datetime(2024, 2, 29, 13, 5, 7, tzinfo=timezone(timedelta(hours=2)))
STUDY = Study(
    patient_name="Müller^Jana^Ä",
    patient_id="P-17",
    issuer_of_patient_id="Klinik",
    birth_date="19900203",
    sex="F",
    study_uid=generate_uid(),
    study_id="S1",
    date="20240131",
    time="101530",
    accession_number="A-3",
    referring_physician="Łuk^Żaneta",
    description="12-week scan",
    images=(
        SourceImage("1.2.840.10008.5.1.4.1.1.6.2", generate_uid(), "1.2.3.4"),
        SourceImage("1.2.840.10008.5.1.4.1.1.6.2", generate_uid(), "1.2.3.5"),
    ),
)
STATES = ("edited",) * 3 + ("confirmed",) * 2 + ("estimated",) * 17


def png(width: int = 4, height: int = 3) -> bytes:
    """A grey picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = (b"\0" + b"\x80" * width) * height
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def pose(*missing: int, factor: float = 1.25) -> Pose:
    """A fetus of about 13 weeks; `missing` are rows without a landmark."""
    positions = standing_body() * factor
    positions[list(missing)] = np.nan
    confidence, radius = np.full(22, 0.9), np.full(22, 1.5)
    confidence[list(missing)] = radius[list(missing)] = np.nan
    return Pose(positions, confidence, radius)


def sections() -> HeadAndAbdomen:
    """A measured head of about 14 weeks, and an abdomen that is not seen."""
    head = BodySection("head", None, Ellipse(0.0, 0.0, 18.5, 14.0, 0.0), 0.9)
    return HeadAndAbdomen(head, BodySection("abdomen", None, reason="the edge of the skin is not seen"))


def report(**changes: Any) -> Report:
    whole = Report(
        pose=pose(),
        created=CREATED,
        name="Fall <7> & Co",
        states=STATES,
        model="toy (0123)",
        device="cpu",
        warnings=("the voxel size is odd",),
        operator="Dr. Ärztin",
        study=STUDY,
        pictures=(Picture("Midsagittal", png()), Picture("Coronal", png())),
    )
    return replace(whole, **changes)
