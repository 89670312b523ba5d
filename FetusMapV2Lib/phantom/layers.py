"""The order in which a fetus is painted: all skin, then what lies below it, organs, and bones last."""

SKIN_LAYER, SOFT_LAYER, ORGAN_LAYER, INNER_LAYER, BONE_LAYER = 10, 20, 30, 40, 50
