"""The report of one case, for people and for other systems: page, PDF, DICOM SR, FHIR. Without Qt, VTK and torch."""
