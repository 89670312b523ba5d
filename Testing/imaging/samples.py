"""Small volumes with a known place in the world, and every way of storing one."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.imaging.dicom.dataset import ENHANCED_US_VOLUME, PHILIPS_CARTESIAN
from FetusMapV2Lib.imaging.volume import LPS_TO_RAS, Volume, ijk_to_ras_matrix

PYDICOM = int(pydicom.__version__.split(".")[0])

#: All 48 ways to order and flip the index axes: (order, signs).
ORIENTATIONS = [
    (order, signs) for order in itertools.permutations(range(3)) for signs in itertools.product((1, -1), repeat=3)
]


def blobs(shape=(40, 32, 24), seed=0, dtype=np.uint8) -> np.ndarray:
    """Smooth off-centre content, no two sides alike."""
    k, j, i = (np.linspace(-1, 1, n) for n in shape)
    generator = np.random.default_rng(seed)
    image = np.zeros(shape)
    for _ in range(4):
        c = generator.uniform(-0.6, 0.6, 3)
        grid = (k[:, None, None] - c[0]) ** 2 + (j[:, None] - c[1]) ** 2 + (i - c[2]) ** 2
        image += np.exp(-grid / 0.15)
    return (10 + 220 * image / image.max()).astype(dtype)


def sample(shape=(40, 32, 24), spacing=(2.0, 2.5, 3.0), rotation=None, seed=0, dtype=np.uint8) -> Volume:
    matrix = ijk_to_ras_matrix(spacing, (-30.0, 12.5, 7.25), rotation)
    return Volume(blobs(shape, seed, dtype), matrix, "sample")


def reordered(volume: Volume, order, signs) -> Volume:
    """The same world volume with its index axes in another order and direction."""
    steps, shape = volume.ijk_to_ras[:3, :3], volume.array.shape[::-1]
    matrix = volume.ijk_to_ras.copy()
    for new, (old, sign) in enumerate(zip(order, signs, strict=True)):
        matrix[:3, new] = steps[:, old] * sign
        if sign < 0:
            matrix[:3, 3] += steps[:, old] * (shape[old] - 1)
    array = volume.array.transpose([2 - order[2], 2 - order[1], 2 - order[0]])
    array = array[tuple(slice(None, None, signs[a]) for a in (2, 1, 0))]
    return volume.with_(array=np.ascontiguousarray(array), ijk_to_ras=matrix)


def oblique(degrees=(20.0, -35.0, 50.0)) -> np.ndarray:
    return Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()


def world(volume: Volume) -> np.ndarray:
    """RAS of the brightest voxel: the same point however the volume is stored."""
    k, j, i = np.unravel_index(int(np.argmax(volume.array)), volume.array.shape)
    return (volume.ijk_to_ras @ [i, j, k, 1.0])[:3]


def _dataset(sop_class: str, modality="US") -> Dataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = sop_class, generate_uid(), modality
    dataset.PatientName = "Test"
    return dataset


def _pixels(dataset: Dataset, array: np.ndarray) -> None:
    bits = array.dtype.itemsize * 8
    dataset.Rows, dataset.Columns = array.shape[1:3]
    dataset.NumberOfFrames = len(array)
    dataset.SamplesPerPixel = 3 if array.ndim == 4 else 1
    dataset.PhotometricInterpretation = "RGB" if array.ndim == 4 else "MONOCHROME2"
    if array.ndim == 4:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, 0
    dataset.PixelData = np.ascontiguousarray(array).tobytes()


def save(dataset: Dataset, path: Path) -> None:
    """Write a DICOM file."""
    if PYDICOM >= 3:
        dataset.save_as(path, enforce_file_format=True)
        return
    syntax = dataset.file_meta.TransferSyntaxUID
    dataset.is_implicit_VR, dataset.is_little_endian = syntax.is_implicit_VR, syntax.is_little_endian
    dataset.save_as(path, write_like_original=False)


def save_without_meta(dataset: Dataset, path: Path, *, implicit: bool, little: bool) -> None:
    """Write a data set alone, without preamble and file meta information."""
    if PYDICOM >= 3:
        pydicom.dcmwrite(path, dataset, implicit_vr=implicit, little_endian=little, enforce_file_format=False)
        return
    dataset.is_implicit_VR, dataset.is_little_endian = implicit, little
    pydicom.dcmwrite(path, dataset)


def _item(**values) -> Dataset:
    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return item


def enhanced_us(volumes: list[Volume], *, modality="US", shuffled=False, colour=False) -> Dataset:
    """A DICOM Enhanced US Volume; several volumes become moments in time."""
    dataset = _dataset(ENHANCED_US_VOLUME, modality)
    lps = LPS_TO_RAS @ volumes[0].ijk_to_ras
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    directions = lps[:3, :3] / spacing
    shared = Dataset()
    shared.PixelMeasuresSequence = [_item(PixelSpacing=[spacing[1], spacing[0]], SliceThickness=spacing[2])]
    orientation = [*directions[:, 0], *directions[:, 1]]
    shared.PlaneOrientationVolumeSequence = [_item(ImageOrientationVolume=[float(v) for v in orientation])]
    dataset.SharedFunctionalGroupsSequence = [shared]
    frames, items = [], []
    for moment, volume in enumerate(volumes):
        for k in range(volume.array.shape[0]):
            position = lps @ [0, 0, k, 1]
            item = Dataset()
            item.PlanePositionVolumeSequence = [_item(ImagePositionVolume=[float(v) for v in position[:3]])]
            item.TemporalPositionSequence = [_item(TemporalPositionTimeOffset=0.5 * moment)]
            frames.append(volume.array[k])
            items.append(item)
    order = np.random.default_rng(1).permutation(len(items)) if shuffled else range(len(items))
    dataset.PerFrameFunctionalGroupsSequence = [items[n] for n in order]
    stack = np.stack([frames[n] for n in order])
    _pixels(dataset, np.repeat(stack[..., None], 3, axis=-1) if colour else stack)
    return dataset


def slices_of(volume: Volume) -> list[Dataset]:
    """The slices of a volume as single DICOM images with a position, in order."""
    lps = LPS_TO_RAS @ volume.ijk_to_ras
    directions = lps[:3, :2] / np.array(volume.spacing[:2])
    found = []
    for n in range(volume.array.shape[0]):
        dataset = multiframe(volume.array[n : n + 1], "1.2.840.10008.5.1.4.1.1.6.1", "US")
        del dataset.NumberOfFrames
        dataset.ImagePositionPatient = [float(v) for v in (lps @ [0, 0, n, 1])[:3]]
        dataset.ImageOrientationPatient = [float(v) for v in directions.T.ravel()]
        dataset.PixelSpacing = [volume.spacing[1], volume.spacing[0]]
        found.append(dataset)
    return found


def encrypted_us() -> Dataset:
    """An Enhanced US Volume whose attributes are encrypted (PS3.15, no pixel data in clear)."""
    dataset = enhanced_us([sample()])
    del dataset.PixelData
    item = type(dataset)()
    item.EncryptedContentTransferSyntaxUID = "1.2.840.10008.1.2"
    item.EncryptedContent = b"\x30\x82" + bytes(200)
    dataset.EncryptedAttributesSequence = [item]
    return dataset


def philips(volumes: list[Volume]) -> Dataset:
    dataset = _dataset(PHILIPS_CARTESIAN)
    _pixels(dataset, np.concatenate([volume.array for volume in volumes]))
    dataset.NumberOfFrames = len(volumes)
    spacing = volumes[0].spacing
    dataset.PhysicalDeltaX, dataset.PhysicalDeltaY = spacing[0] / 10, spacing[1] / 10
    dataset.PhysicalUnitsXDirection = dataset.PhysicalUnitsYDirection = 3
    dataset.add_new((0x3001, 0x0010), "LO", "Philips3D")
    dataset.add_new((0x3001, 0x1001), "UL", volumes[0].array.shape[0])
    dataset.add_new((0x3001, 0x1003), "FD", spacing[2] / 10)
    return dataset


def multiframe(array: np.ndarray, sop_class: str, modality: str) -> Dataset:
    dataset = _dataset(sop_class, modality)
    _pixels(dataset, array)
    return dataset


def kretz_in_dicom(data: bytes) -> Dataset:
    dataset = _dataset("1.2.840.10008.5.1.4.1.1.6.1")
    _pixels(dataset, np.zeros((1, 8, 8), np.uint8))
    dataset.add_new((0x7FE1, 0x0011), "LO", "KRETZ_US")
    dataset.add_new((0x7FE1, 0x1101), "OB", data)
    return dataset


def record(group: int, element: int, value: bytes) -> bytes:
    return struct.pack("<HHI", group, element, len(value)) + value


def kretz_file(
    voxels: np.ndarray, resolution_mm: float, first: float, bend: float, theta, phi, *, cartesian_mm=None
) -> bytes:
    """A Kretz file: voxels [phi, theta, radius]; `first` and `bend` (D) in mm; angles in rad, 0 straight ahead."""
    parts = [b"KRETZFILE 1.0   ", record(0x0000, 0x0001, b"\0\0")]
    parts += [record(0xC000, n + 1, struct.pack("<H", size)) for n, size in enumerate(voxels.shape[::-1])]
    parts.append(record(0xC100, 1, struct.pack("<d", resolution_mm / 1000)))
    parts.append(record(0xC200, 1, struct.pack("<d", first / resolution_mm)))
    parts.append(record(0xC200, 2, struct.pack("<d", -bend / resolution_mm)))
    if cartesian_mm is None:
        parts.append(record(0xC300, 1, (np.asarray(phi) + np.pi / 2).astype("<f8").tobytes()))
        parts.append(record(0xC300, 2, (np.asarray(theta) + np.pi / 2).astype("<f8").tobytes()))
    else:
        parts.append(record(0x0010, 0x0022, struct.pack("<d", cartesian_mm)))
    parts.append(record(0xD000, 1, voxels.astype(np.uint8).tobytes()))
    return b"".join(parts)


def read_back(path: Path) -> Dataset:
    return pydicom.dcmread(path)
