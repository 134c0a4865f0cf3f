"""What a translated pipeline holds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2 as api

from jetbridge.beam.naming import label, stage_of

if TYPE_CHECKING:
    from jetbridge.plan.ends import BeamNode

_STEP = re.compile(r" ?\[while running '([^']*)'\]")
_HOLDING = {
    common_urns.primitives.GROUP_BY_KEY.urn,
    common_urns.primitives.ASSIGN_WINDOWS.urn,
    common_urns.composites.COMBINE_PER_KEY.urn,
    common_urns.composites.COMBINE_GLOBALLY.urn,
}


def holds_back(proto: api.Pipeline, node: BeamNode) -> bool:
    """Whether a user's Beam transform groups, windows or keeps state, found in its expansion.

    Args:
        proto: The translated pipeline.
        node: The stage of the transform.
    """
    prefix = label(node.name, "apply")
    for transform in proto.components.transforms.values():
        name = transform.unique_name
        if name != prefix and not name.startswith(prefix + "/"):
            continue
        if transform.spec.urn in _HOLDING:
            return True
        if transform.spec.urn == common_urns.primitives.PAR_DO.urn:
            payload = api.ParDoPayload.FromString(transform.spec.payload)
            if payload.state_specs or payload.timer_family_specs or payload.side_inputs:
                return True
    return False


def failed_stage(error: BaseException) -> str | None:
    """The stage that Beam was running when an error was raised, from what Beam adds to its message.

    Example:
        >>> failed_stage(ValueError("no [while running 'apply_beam:apply/Map(f)']"))
        'apply_beam'
    """
    found = _STEP.findall(str(error))
    return stage_of(found[0]) or None if found else None


def without_steps(message: str) -> str:
    """A message without what Beam adds to it.

    Example:
        >>> without_steps("ValueError: no [while running 'apply_beam:apply/Map(f)']")
        'ValueError: no'
    """
    return _STEP.sub("", message)
