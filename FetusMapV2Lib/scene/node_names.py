"""Names of nodes: any name of a file, a folder or a user is turned into one that MRML can store.

MRML copies names into file names of scene bundles, into XML, and into format strings of C.
"""

from __future__ import annotations

import unicodedata
from typing import Any

#: A scene bundle writes names into file names, of which most systems allow 255 bytes; suffixes are added.
_MOST_BYTES = 120
#: Characters that become three in the file names of a scene bundle.
_ENCODED = frozenset('%/\\:*?"<>|')

#: Unicode categories that XML, or a line of text, cannot hold.
_UNPRINTABLE = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")

#: Looks like a percent sign, and is an ordinary character to C.
_FULLWIDTH_PERCENT = "\uff05"

#: The number without the node's name: labels are formatted with `snprintf`, also after a user renamed the node.
_LABEL_FORMAT = "%d"


def safe_name(name: str, otherwise: str = "Volume") -> str:
    """A name without line breaks, control or invalid characters, short enough for a file name.

    Args:
        name: any text.
        otherwise: the name in place of an empty one.
    """
    return _shortened(printable(name)) or otherwise


def printable(text: str) -> str:
    """A text as one line that XML and VTK can hold."""
    # Bytes of a file name that are not UTF-8 reach Python as lone surrogates; most are Latin-1.
    whole = "".join(chr(ord(one) - 0xDC00) if "\udc80" <= one <= "\udcff" else one for one in text)
    return " ".join("".join(one if is_printable(one) else " " for one in whole).split())


def node_name(node: Any) -> str:
    """The name of a node as text, which VTK returns as bytes where it is not UTF-8; most such names are Latin-1."""
    name = node.GetName() or ""
    return name.decode("latin-1") if isinstance(name, bytes) else str(name)


def safe_markups_name(name: str, otherwise: str = "Fetus") -> str:
    """A safe name for a markups node and the nodes named after it, with full-width percent signs.

    MRML formats labels with `snprintf`, and the format holds the name of the node unless another format was set, which
    is not yet the case in the copies for undo.
    """
    return safe_name(name, otherwise).replace("%", _FULLWIDTH_PERCENT)


def remove_percent_signs(markups: Any) -> None:
    """Replace percent signs in the name that a user gave to a markups node."""
    name = node_name(markups)
    if "%" in name:
        markups.SetName(name.replace("%", _FULLWIDTH_PERCENT))


def is_printable(name: str) -> bool:
    """Whether a line of text, and XML, can hold all characters of a name."""
    return not any(unicodedata.category(one) in _UNPRINTABLE for one in name)


def pose_name(landmarks: Any) -> str:
    """The common beginning of the names of a pose's nodes, also after a user renamed its landmarks."""
    return safe_markups_name(node_name(landmarks).removesuffix(" landmarks"))


def other_fetus_name(name: str, number: int) -> str:
    """The name of the nodes of a further fetus in a volume, from that of the first: ``Case fetus (fetus 2)``."""
    return f"{name} (fetus {number})"


def _shortened(name: str) -> str:
    room = _MOST_BYTES
    for index, one in enumerate(name):
        room -= 3 if one in _ENCODED else len(one.encode())
        if room < 0:
            return name[:index].rstrip()
    return name


def label_points_by_number(markups: Any) -> None:
    """Let a markups node label its points by number, so that no name crashes the process; call before adding points."""
    if markups.GetControlPointLabelFormat() != _LABEL_FORMAT:
        markups.SetControlPointLabelFormat(_LABEL_FORMAT)
