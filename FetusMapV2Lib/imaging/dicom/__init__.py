"""Reading 3D ultrasound from DICOM files and folders."""
