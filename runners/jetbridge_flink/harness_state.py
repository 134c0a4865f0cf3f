"""Beam state in a worker, made quicker: changes sent together, and cached values weighed by what they are.

At a bundle's end Beam's SDK sends the changes of one cell of one key after another,
and waits for the runner's answer to each: with a hundred shards a bundle spends more
time on that than on its items. And to learn how large a cached value is it walks over
the globals of all modules that were ever imported.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apache_beam.runners.worker.bundle_processor import FnApiUserStateContext

_OBJECT = 64
"""About how many bytes an object takes besides its content."""


_KNOWN = {"_cleared", "_state_handler", "clear", "_state_key", "_added_elements", "extend", "_value_coder", "get_impl"}
"""What the commit of Beam's bags is made of; one that is made of something else is left as it is."""


def quicken() -> bool:
    """Replace these two of Beam's functions in this process.

    Returns:
        Whether Beam is as it is known here; otherwise nothing is changed.
    """
    from apache_beam.runners.worker import bundle_processor, statecache

    bag = bundle_processor.SynchronousBagRuntimeState
    if set(bag.commit.__code__.co_names) - {"get"} != _KNOWN:
        return False
    bundle_processor.FnApiUserStateContext.commit = commit
    statecache.get_deep_size = functools.partial(weight, statecache.get_deep_size)
    return True


def commit(context: FnApiUserStateContext) -> None:
    """Send what a bundle changed, then wait for the answers: the runner must have all of it before the bundle ends.

    Raises:
        RuntimeError: When the runner could not store something.
    """
    from apache_beam.runners.worker.bundle_processor import SynchronousBagRuntimeState

    asked = []
    for state in context._all_states.values():
        bag = getattr(state, "_underlying_bag_state", state)
        if type(bag) is not SynchronousBagRuntimeState:
            state.commit()
            continue
        if bag._cleared:
            asked.append(bag._state_handler.clear(bag._state_key))
        if bag._added_elements:
            coder = bag._value_coder.get_impl()
            asked.append(bag._state_handler.extend(bag._state_key, coder, bag._added_elements))
    for answer in [each.get() for each in asked]:
        if answer.error:
            raise RuntimeError(answer.error)


def weight(deep: Any, *values: Any) -> int:
    """The size of values in bytes; of lists of bytes, which is what the state of jetbridge's stages is, at once.

    Args:
        deep: Finds the size of anything else.
        values: What is to be weighed.
    """
    total = 0
    for value in values:
        if type(value) is list and all(type(each) is bytes for each in value):
            total += _OBJECT + sum(map(len, value)) + _OBJECT * len(value)
        elif type(value) is bytes:
            total += _OBJECT + len(value)
        else:
            total += deep(value)
    return total
