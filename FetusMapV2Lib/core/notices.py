"""The sentence that stands wherever a result is shown."""

RESEARCH_USE = "Research use only; default weights were trained on simulated volumes."
