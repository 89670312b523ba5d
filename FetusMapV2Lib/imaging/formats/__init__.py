"""Volume files outside DICOM: NRRD, MetaImage, NIfTI and GE Kretz, their headers and voxels."""
