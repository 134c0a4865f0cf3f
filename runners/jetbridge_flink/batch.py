"""The DoFns of a bounded job without a guarantee, which Flink runs in its batch mode.

Such a job begins anew when something is lost, so a partition can be read to its
end in one go, and a shard is whole when its stage begins: neither restrictions
nor state nor timers are needed.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from apache_beam.pvalue import TaggedOutput

from jetbridge.kernels.aside import with_aside
from jetbridge.kernels.rules import keyed_kernel
from jetbridge_flink import envelopes
from jetbridge_flink.grouped import in_order
from jetbridge_flink.reading import Parts, Slices
from jetbridge_flink.transforms import FIGURES, NO_PARTITION, SegmentFn, refuse_more
from jetbridge_flink.work import marking

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_TELL_SECONDS = 0.5


class BatchReadFn(SegmentFn):
    """Reads a partition to its end."""

    def setup(self) -> None:
        """Open the source."""
        super().setup()
        with marking(self._node):
            self._source = self._job.source(self._node)

    def process(self, element: tuple[str, bytes]) -> Iterator[TaggedOutput]:
        """A partition, and where a fresh start begins in it."""
        ((partition, position),) = Parts.decoded(element[1]).items()
        place, told = f"{self._node.name}/{partition}", time.monotonic()
        slices = Slices(self._source, partition)
        sequences: dict[str, int] = {}
        with marking(self._node):
            if partition == NO_PARTITION:
                yield TaggedOutput(FIGURES, envelopes.no_figures(self.spec.run, place))
            while not position.ended:
                started, count = time.monotonic(), 0
                chunks, end = slices.read(position.offset)
                for chunk in chunks:
                    count += len(chunk)
                    for emission in self._kernel.feed(chunk):
                        yield self._given(emission, place, sequences)
                slices.took(count, started)
                position = replace(
                    position,
                    offset=position.offset if end is None else end,
                    ended=end is None,
                    version=position.version + 1,
                    counts=envelopes.added(position.counts, self._kernel.take_counts()),
                )
                if position.ended:
                    for emission in self._kernel.flush():
                        yield self._given(emission, place, sequences)
                if position.ended or time.monotonic() - told > _TELL_SECONDS:
                    told = time.monotonic()
                    yield TaggedOutput(FIGURES, envelopes.partition_figures(self._source, partition, place, position))


class BatchKeyedFn(SegmentFn):
    """Runs a stage with state on one whole shard after another."""

    def setup(self) -> None:
        """Make the kernel."""
        super().setup()
        self._keyed = keyed_kernel(self._node)

    def start_bundle(self) -> None:
        """Nothing is held."""
        super().start_bundle()
        self._records = 0

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[TaggedOutput]:
        """All payloads of a shard."""
        number, payloads = element
        place, kernel = f"{self._node.name}/{number}", self._keyed
        state = kernel.new_state()
        sequences: dict[str, int] = {}
        with marking(self._node):
            for payload in in_order(payloads):
                yield from self._fed(with_aside(kernel, kernel.process(state, payload)), place, sequences)
                if self.spec.most_records > 0:
                    refuse_more(kernel, self._records + kernel.records(state), self.spec.most_records)
            self._records += kernel.records(state) if self.spec.most_records > 0 else 0
            yield from self._fed(with_aside(kernel, kernel.on_end(state)), place, sequences)
            for emission in self._kernel.flush():
                yield self._given(emission, place, sequences)
            body = {"counts": self._kernel.take_counts(), "ended": True}
            yield TaggedOutput(FIGURES, envelopes.figures(self.spec.run, place, 1, body))
