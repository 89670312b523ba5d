"""What a simulated case shows: which anatomy, a fetus or something else, and whose landmarks are written."""

from __future__ import annotations

from dataclasses import dataclass

from FetusMapV2Lib.core.errors import InputError

#: The bodies that can be simulated. A volume of a seed stays the same within one of them.
ANATOMIES = ("2026-1", "2026-2", "2026-3", "2026-4", "2026-5", "2026-6")
CURRENT = "2026-3"
#: Those in which the parts of all bodies lie at the same places.
EARLIER = ("2026-1", "2026-2")
#: Scenes with a fetus and landmarks: one, two, one that the volume shows only in part, one with hardly any fluid.
WITH_FETUS = ("fetus", "twins", "partial", "clinging")
#: Scenes without: an empty uterus, a head alone, organs and cysts, a spine phantom, plain tissue.
WITHOUT_FETUS = ("empty", "head", "organs", "spine", "tissue")


@dataclass(frozen=True)
class SceneOptions:
    """What a case shows.

    Attributes:
        shows: one of `WITH_FETUS` and `WITHOUT_FETUS`.
        anatomy: one of `ANATOMIES`; "2026-1" is the world that `simulated-2` was trained on, in "2026-3" each body has
            a plan of its own (`body_plan`), in "2026-4" these differ more and limbs are drawn up more often, and in
            "2026-5" limbs are often raised in front of the body as well; in "2026-6" limbs differ more in length, and
            arms often lie along the body.
        annotated: landmarks as a person would set them, not where they are: see `annotators`.

    Raises:
        InputError: there is no such scene or anatomy.
    """

    shows: str = "fetus"
    anatomy: str = CURRENT
    annotated: bool = False

    def __post_init__(self) -> None:
        for what, value, known in (
            ("scene", self.shows, (*WITH_FETUS, *WITHOUT_FETUS)),
            ("anatomy", self.anatomy, ANATOMIES),
        ):
            if value not in known:
                raise InputError(f"no {what} {value!r}", remedy=f"Choose one of {', '.join(known)}")

    @property
    def fetus_present(self) -> bool:
        """Whether there is a fetus with landmarks."""
        return self.shows in WITH_FETUS
