"""Names of nodes: whatever a file, a folder or a user calls something becomes a name that MRML can carry.

MRML copies names into file names of scene bundles, into XML, and into formats of C, where a percent sign is an order.
"""

from __future__ import annotations

import unicodedata
from typing import Any

#: A scene bundle writes names into file names, of which few systems take more than 255 bytes; suffixes need room.
_MOST_BYTES = 120
#: Characters that become three in the file names of a scene bundle.
_ENCODED = frozenset('%/\\:*?"<>|')

#: Unicode categories that XML, or a line of text, cannot carry.
_UNFIT = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")

#: Full-width: looks like one, and is none to C.
_HARMLESS_PERCENT = "\uff05"

#: Numbers alone, never the node's name: labels are made with `snprintf`, also long after a user renamed the node.
_LABEL_FORMAT = "%d"


def safe_name(name: str, otherwise: str = "Volume") -> str:
    """A name without line breaks, control characters or broken ones, short enough for a file name.

    Args:
        otherwise: the name in place of an empty one.
    """
    return _shortened(printable(name)) or otherwise


def printable(text: str) -> str:
    """A text as one line that XML and VTK can carry."""
    # Bytes of a file name that are no UTF-8 reach Python as lone surrogates; most are Latin-1.
    whole = "".join(chr(ord(one) - 0xDC00) if "\udc80" <= one <= "\udcff" else one for one in text)
    return " ".join("".join(one if is_printable(one) else " " for one in whole).split())


def node_name(node: Any) -> str:
    """The name of a node as text, which VTK gives as bytes where it is no UTF-8; most such names are Latin-1."""
    name = node.GetName() or ""
    return name.decode("latin-1") if isinstance(name, bytes) else str(name)


def safe_markups_name(name: str, otherwise: str = "Fetus") -> str:
    """A safe name for a markups node and what belongs to it, with full-width percent signs.

    MRML makes labels with `snprintf`, and the name of the node is in the format unless another one was set. The copies
    that it makes for undo have no other one yet.
    """
    return safe_name(name, otherwise).replace("%", _HARMLESS_PERCENT)


def make_name_harmless(markups: Any) -> None:
    """Take percent signs out of the name that a user gave to a markups node."""
    name = node_name(markups)
    if "%" in name:
        markups.SetName(name.replace("%", _HARMLESS_PERCENT))


def is_printable(name: str) -> bool:
    """Whether a line of text, and XML, can carry all characters of a name."""
    return not any(unicodedata.category(one) in _UNFIT for one in name)


def pose_name(landmarks: Any) -> str:
    """What the nodes of a pose are named after, whatever a user made of the name of its landmarks."""
    return safe_markups_name(node_name(landmarks).removesuffix(" landmarks"))


def _shortened(name: str) -> str:
    room = _MOST_BYTES
    for index, one in enumerate(name):
        room -= 3 if one in _ENCODED else len(one.encode())
        if room < 0:
            return name[:index].rstrip()
    return name


def without_name_in_labels(markups: Any) -> None:
    """Let a markups node label its points by number, so that no name can end the process; before points are added."""
    if markups.GetControlPointLabelFormat() != _LABEL_FORMAT:
        markups.SetControlPointLabelFormat(_LABEL_FORMAT)
