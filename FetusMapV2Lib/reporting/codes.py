"""Standard codes of the measurements: LOINC and SNOMED CT, as listed by DICOM PS3.16.

Context groups 12005 (fetal biometry), 12006 (long bones), 12009 (early gestation), 12013 (gestational age equations)
and 244 (laterality). Landmarks have no code: their sites in the body do.
"""

from __future__ import annotations

from pydicom.sr.coding import Code

CRL = Code("11957-8", "LN", "Crown Rump Length")
GESTATIONAL_AGE = Code("18185-9", "LN", "Gestational Age")
ULTRASOUND_REPORT = Code("11525-3", "LN", "Ultrasound Obstetric and Gyn Report")
#: Length and site of each bone.
BONES = {
    "femur": (Code("11963-6", "LN", "Femur Length"), Code("71341001", "SCT", "Femur")),
    "humerus": (Code("11966-9", "LN", "Humerus length"), Code("85050009", "SCT", "Humerus")),
}
#: Sizes of head and abdomen.
SECTIONS = {
    "hc": Code("11984-2", "LN", "Head Circumference"),
    "bpd": Code("11820-8", "LN", "Biparietal Diameter"),
    "ofd": Code("11851-3", "LN", "Occipital-Frontal Diameter"),
    "ac": Code("11979-2", "LN", "Abdominal Circumference"),
}
NUCHAL_TRANSLUCENCY = Code("33069-6", "LN", "Nuchal Translucency")
SECTION_SITES = {"head": Code("69536005", "SCT", "Head"), "abdomen": Code("818981001", "SCT", "Abdomen")}
#: Sites of the landmarks by their key, without the side.
LANDMARK_SITES = {
    "cranial_crest": Code("88986008", "SCT", "Vertex of Head"),
    "forehead": Code("68698007", "SCT", "Skin of forehead"),
    "nasal_tip": Code("45206002", "SCT", "Nose"),
    "nasal_bone": Code("74386004", "SCT", "Nasal bone"),
    "chin": Code("23747009", "SCT", "Skin of chin"),
    "hind_neck": Code("45048000", "SCT", "Neck"),
    "upper_thoracic_spine": Code("122495006", "SCT", "Thoracic spine"),
    "umbilical_cord_insertion": Code("90290004", "SCT", "Umbilical region"),
    "lumbosacral_spine": Code("1217253001", "SCT", "Lumbo-sacral spine"),
    "rump": Code("46862004", "SCT", "Buttock"),
    "shoulder": Code("16982005", "SCT", "Shoulder"),
    "elbow": Code("16953009", "SCT", "Elbow joint"),
    "wrist": Code("74670003", "SCT", "Wrist joint"),
    "hip": Code("24136001", "SCT", "Hip joint"),
    "knee": Code("49076000", "SCT", "Knee joint"),
    "ankle": Code("70258002", "SCT", "Ankle joint"),
}
SIDES = {"left": Code("7771000", "SCT", "Left"), "right": Code("24028007", "SCT", "Right")}
#: Dating formulas by their key; INTERGROWTH-21st has no code.
EQUATIONS = {
    "robinson": Code("11914-9", "LN", "CRL, Robinson 1975"),
    "hadlock": Code("11910-7", "LN", "CRL, Hadlock 1992"),
}
