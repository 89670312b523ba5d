"""DICOM files on their way to an archive (PACS): C-STORE, DICOMweb STOW-RS, and one clear line for each refusal."""
