"""Volumes: reading, checking, resampling and writing them, and landmark files.

All geometry leaves this room as RAS millimetres; SimpleITK and DICOM (LPS) are converted here only.
"""
