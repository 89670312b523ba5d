"""Sentences that stand wherever a result is shown."""

RESEARCH_USE = "Research use only; default weights were trained on simulated volumes."
#: What left and right of every pose rest on.
HANDEDNESS = (
    "Left and right hold if the volume is not mirrored. This was not checked: a mirrored export exchanges all sides "
    "without a warning, unless its file says so."
)
