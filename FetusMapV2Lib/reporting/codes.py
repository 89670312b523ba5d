"""Standard codes of the measurements: LOINC and SNOMED CT, as listed by DICOM PS3.16.

Context groups 12006 (long bones), 12009 (early gestation), 12013 (gestational age equations) and 244 (laterality).
"""

from __future__ import annotations

from pydicom.sr.coding import Code

CRL = Code("11957-8", "LN", "Crown Rump Length")
GESTATIONAL_AGE = Code("18185-9", "LN", "Gestational Age")
#: Length and site of each bone.
BONES = {
    "femur": (Code("11963-6", "LN", "Femur Length"), Code("71341001", "SCT", "Femur")),
    "humerus": (Code("11966-9", "LN", "Humerus length"), Code("85050009", "SCT", "Humerus")),
}
SIDES = {"left": Code("7771000", "SCT", "Left"), "right": Code("24028007", "SCT", "Right")}
#: Dating formulas by their key; INTERGROWTH-21st has no code.
EQUATIONS = {
    "robinson": Code("11914-9", "LN", "CRL, Robinson 1975"),
    "hadlock": Code("11910-7", "LN", "CRL, Hadlock 1992"),
}
