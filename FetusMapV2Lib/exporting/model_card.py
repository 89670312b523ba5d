"""What a report says of the model that made an estimate."""

from __future__ import annotations

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.models.model_index import list_models


def model_card(identity: str) -> str:
    """The description of a model in the index of models; empty if it is not listed there.

    Args:
        identity: name and beginning of the checksum, as `Model.identity` gives them.
    """
    try:
        entries = list_models()
    except UserError:
        return ""  # an index that cannot be read must not cost a report
    return next((entry.description for entry in entries if _is_listed(identity, entry.name)), "")


def _is_listed(identity: str, name: str) -> bool:
    return identity == name or identity.startswith(f"{name} (")
