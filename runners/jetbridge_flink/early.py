"""Windows that give early results: a stage with state that is also woken by the clock."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import apache_beam as beam
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import TimerSpec, on_timer
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp

from jetbridge.kernels.aside import with_aside
from jetbridge_flink import envelopes
from jetbridge_flink.shards import ShardState
from jetbridge_flink.transforms import KeyedFn
from jetbridge_flink.work import marking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apache_beam.pvalue import TaggedOutput


class EarlyKeyedFn(KeyedFn):
    """A `KeyedFn` whose shards, when something in them has changed, emit what is so far at the end of the period."""

    EARLY = TimerSpec("early", TimeDomain.REAL_TIME)

    def process(
        self,
        element: tuple[int, bytes],
        log: Any = beam.DoFn.StateParam(KeyedFn.LOG),  # noqa: B008
        about: Any = beam.DoFn.StateParam(KeyedFn.ABOUT),  # noqa: B008
        timer: Any = beam.DoFn.TimerParam(KeyedFn.TIMER),  # noqa: B008
        early: Any = beam.DoFn.TimerParam(EARLY),  # noqa: B008
    ) -> Iterator[TaggedOutput]:
        """One payload of a shard."""
        yield from super().process(element, log, about, timer)
        if not element[1]:
            return
        # At the same times for everybody: a timer that is set again for one moves nothing.
        period = self._keyed.period / 1000
        at = (math.floor(time.time() / period) + 1) * period
        # Else Beam would hold back the watermark of what is below as long as the timer waits.
        early._input_timestamp = GlobalWindow().max_timestamp()
        early.set(Timestamp.of(at), dynamic_timer_tag=f"{at:.3f}")

    @on_timer(EARLY)
    def on_early(
        self,
        number: Any = beam.DoFn.KeyParam,
        log: Any = beam.DoFn.StateParam(KeyedFn.LOG),  # noqa: B008
        about: Any = beam.DoFn.StateParam(KeyedFn.ABOUT),  # noqa: B008
    ) -> Iterator[TaggedOutput]:
        """The period is over."""
        with marking(self._node):
            kernel, place = self._keyed, f"{self._node.name}/{number}"
            kept = ShardState(kernel, (self.spec.run, self._node.name, number), log, about)
            shard = kept.load()
            yield from self._fed(with_aside(kernel, kernel.early(shard.state)), place, shard.sequences)
            for emission in self._kernel.flush():
                yield self._given(emission, place, shard.sequences)
            shard.counts = envelopes.added(shard.counts, self._kernel.take_counts())
            kept.changed(shard, [kernel.last])
            kept.save(shard)
            self._told[place] = shard
