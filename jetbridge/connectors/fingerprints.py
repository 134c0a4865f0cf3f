"""Whether what a job has read is still there: what checkpoints keep of it beside the offset, and how it is compared.

A kept fingerprint is a list of the offset where it was taken and what `Source.fingerprint`
gave there: the offset of the partition may be further by the time it is compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jetbridge.errors import JetbridgeError, SnapshotError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jetbridge.connectors.base import Offset, Source
    from jetbridge.plan.graph import Plan

Kept = list[Any]


def kept(source: Source, partition: str, offset: Offset, before: Kept | None) -> Kept | None:
    """What a checkpoint keeps of a partition that has not ended.

    Args:
        source: The source.
        partition: The partition.
        offset: Where it stands.
        before: What the checkpoint before kept: nothing is read again for the same offset.
    """
    if before is not None and before[0] == offset:
        return before
    fingerprint = None if offset is None else source.fingerprint(partition, offset)
    return None if fingerprint is None else [offset, fingerprint]


def refuse_changed(source: Source, partition: str, offset: Offset, kept: Kept | None) -> None:
    """Refuse a partition that has not ended, when it is shorter or another one than it was when it was read.

    Args:
        source: The source, which is open.
        partition: The partition.
        offset: Where reading is to go on.
        kept: What the checkpoint kept, if it did.

    Raises:
        SnapshotError: When it is.
    """
    _refuse_other(source, partition, kept)
    size, at = source.size(partition), source.position(partition, offset)
    if size is not None and at is not None and at > size:
        raise _refused(partition, f"it has become shorter: it holds {size}, and was read up to {at} before")


def refuse_changed_sources(body: Mapping[str, Any], plan: Plan) -> None:
    """In the client: refuse to go on when something that has a fingerprint has changed, before anything is started.

    Args:
        body: A checkpoint's body.
        plan: The pipeline that is to go on from it.

    Raises:
        SnapshotError: When something has changed, or cannot be looked at.
    """
    for node in plan.sources:
        entry, source = body["sources"].get(node.name, {}), node.source
        if (entry.get("kind"), entry.get("location")) != (source.kind, source.location()):
            continue  # another source: `jetbridge.plan.matching` says what becomes of it
        for partition, (_, ended, *more) in entry.get("partitions", {}).items():
            if ended or len(more) < 2:  # a body may lack it
                continue
            try:
                _refuse_other(source, partition, more[1])
            except JetbridgeError as error:
                raise SnapshotError(f"source '{node.name}' cannot go on: {error}") from error


def has_fingerprints(body: Mapping[str, Any]) -> bool:
    """Whether a checkpoint's body holds any, in the partitions that have not ended."""
    places = [place for entry in body["sources"].values() for place in entry.get("partitions", {}).values()]
    return any(not place[1] and len(place) > 3 and place[3] is not None for place in places)


def _refuse_other(source: Source, partition: str, kept: Kept | None) -> None:
    if kept is not None and (reason := source.changed(partition, *kept)) is not None:
        raise _refused(partition, reason)


def _refused(partition: str, reason: str) -> SnapshotError:
    return SnapshotError(
        f"partition {partition!r} has changed since it was read: {reason}; restore it as it was, or read it from its "
        "start, in a new job or under another name of the source"
    )
