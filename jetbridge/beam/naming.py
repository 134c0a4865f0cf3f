"""Labels of Beam transforms, as functions of stage names alone.

The encoding is reversible, so that ``map-2`` and ``map_2`` stay two, and holds
no counter, line number or address: saved state finds its stage again.
"""

from __future__ import annotations

from urllib.parse import quote, unquote


def label(stage: str, role: str) -> str:
    """The label of a stage's transform.

    Example:
        >>> label("my/stage", "read")
        'my%2Fstage:read'
    """
    return f"{quote(stage, safe=' -_.')}:{role}"


def stage_of(label: str) -> str:
    """The stage of a label, or of a transform's full name that starts with one.

    Example:
        >>> stage_of("my%2Fstage:read/ParDo")
        'my/stage'
    """
    return unquote(label.partition("/")[0].rpartition(":")[0])
