"""The ids of a pipeline's transforms, made functions of stage names, and stable input for the stage that writes.

Flink keeps state under the ids of transforms. Beam's own ids end in a counter,
which shifts when a stage is added: a savepoint would then not find its owners.
"""

from __future__ import annotations

from urllib.parse import quote

from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2 as api

_STABLE_INPUT = common_urns.requirements.REQUIRES_STABLE_INPUT.urn


def make_stable(proto: api.Pipeline) -> None:
    """Make every transform's id, and that of every collection, a function of the transform's full name.

    Args:
        proto: A pipeline; it is changed.
    """
    transforms, collections = proto.components.transforms, proto.components.pcollections
    ids = {old: _id("t", transform.unique_name) for old, transform in transforms.items()}
    of_output: dict[str, str] = {}
    for transform in transforms.values():
        if not transform.subtransforms:
            for tag, collection in transform.outputs.items():
                of_output.setdefault(collection, _id("c", f"{transform.unique_name}|{tag}"))
    renamed = {}
    for old, transform in transforms.items():
        copy = api.PTransform()
        copy.CopyFrom(transform)
        copy.subtransforms[:] = [ids[each] for each in transform.subtransforms]
        for part in (copy.inputs, copy.outputs):
            for tag, collection in list(part.items()):
                part[tag] = of_output.get(collection, collection)
        renamed[ids[old]] = copy
    transforms.clear()
    for new, transform in renamed.items():
        transforms[new].CopyFrom(transform)
    kept = {of_output.get(old, old): collection for old, collection in collections.items()}
    collections.clear()
    for new, collection in kept.items():
        collections[new].CopyFrom(collection)
    proto.root_transform_ids[:] = [ids[old] for old in proto.root_transform_ids]


def require_stable_input(proto: api.Pipeline, name: str) -> None:
    """Let a transform have an element only when the checkpoint that holds it is complete.

    Beam's Python SDK has no way to say it. The transform must have no state: one
    with state would wait for itself.

    Args:
        proto: A pipeline; it is changed.
        name: The transform's full name.
    """
    for transform in proto.components.transforms.values():
        if transform.unique_name == name and transform.spec.urn == common_urns.primitives.PAR_DO.urn:
            payload = api.ParDoPayload.FromString(transform.spec.payload)
            payload.requires_stable_input = True
            transform.spec.payload = payload.SerializeToString()
    if _STABLE_INPUT not in proto.requirements:
        proto.requirements.append(_STABLE_INPUT)


def _id(kind: str, name: str) -> str:
    """An id that only this name has: what is no letter or digit is written as its bytes."""
    return f"{kind}:" + quote(name, safe="").replace("_", "__").replace("~", "_t").replace("%", "_x")
