"""The DoFns of the Flink runner: sources, stages with state, and the stage that writes.

Every DoFn gives pairs ``(number, bytes)``: to a stage with state ``(shard, payload)``,
to the stage that writes an envelope.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

import apache_beam as beam
from apache_beam import coders
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Duration, Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from jetbridge.errors import ItemError
from jetbridge.kernels.aside import Aside, with_aside
from jetbridge.kernels.rules import keyed_kernel
from jetbridge.kernels.stateless import CHUNK_ITEMS
from jetbridge.plan.ends import SinkNode
from jetbridge.plan.keyed import KeyedNode
from jetbridge.times import BEGINNING, END, LATEST, LONGEST, Clock, Held, cut, of_partitions
from jetbridge_flink import envelopes
from jetbridge_flink.grouped import stamped
from jetbridge_flink.reading import BEGIN, Parts, Position, PositionProvider, Slices
from jetbridge_flink.shards import SHARDS, Shard, ShardState
from jetbridge_flink.work import JobSpec, Work, marking, work

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from jetbridge.kernels.keyed import KeyedKernel
    from jetbridge.kernels.segment import Emission, SegmentKernel

BUDGET_SECONDS = 0.1
"""How long a source reads, or a stream without news is looked at, before its bundle may end."""
POLL_SECONDS = 0.005
NO_PARTITION = ""
"""Stands for those of a source that has none, so that its end is told."""
ALL_PARTITIONS = "*"
"""Names the element that holds all partitions of a stream with times."""
FIGURES = "figures"
"""The tag of the figures among a DoFn's outputs."""

_MICROS = 1_000_000
_TIMERS = 64  # of one shard at a time


def beam_time(time: int) -> Timestamp:
    """An event time as Beam has it: a millisecond as a second, since watermarks of sources lose all below a second."""
    return Timestamp(micros=time * _MICROS)


def event_time(at: Timestamp | None) -> int:
    """What `beam_time` was given; for a watermark that was not set yet the beginning."""
    return BEGINNING if at is None else -(-at.micros // _MICROS)


class JobFn(beam.DoFn):
    """A DoFn of a job's node."""

    def __init__(self, spec: JobSpec, node_id: int) -> None:
        self.spec = spec
        self.node_id = node_id

    def setup(self) -> None:
        """Find the job in this process."""
        with marking():
            self._job: Work = work(self.spec)
            self._node: Any = self._job.nodes[self.node_id]


class SegmentFn(JobFn):
    """A root with the stateless stages below it."""

    def setup(self) -> None:
        """Find the job, and which exits are sinks."""
        super().setup()
        exits = self._job.segments[self.node_id].exits
        self._sinks = {i: exit_.target.name for i, exit_ in enumerate(exits) if isinstance(exit_.target, SinkNode)}
        ordered = KeyedNode if self.spec.batch else ()
        self._ordered = {i: exit_.name for i, exit_ in enumerate(exits) if isinstance(exit_.target, ordered)}

    def start_bundle(self) -> None:
        """A new kernel: what a bundle before that failed has left in its splitters is void."""
        with marking(self._node):
            self._kernel: SegmentKernel = self._job.kernel(self.node_id)

    def _given(self, emission: Emission, place: str, sequences: dict[str, int]) -> TaggedOutput:
        sink = self._sinks.get(emission.exit)
        # By name: in a pipeline that has changed since a snapshot another exit may have the number.
        name = sink or self._ordered.get(emission.exit)
        if name is None:
            return TaggedOutput(str(emission.exit), (emission.number, emission.payload))
        sequence = sequences.get(name, 0)
        sequences[name] = sequence + 1
        if sink is None:
            return TaggedOutput(str(emission.exit), (emission.number, stamped(place, sequence, emission.payload)))
        pair = envelopes.chunk(self.spec.run, sink, place, sequence, emission.number, emission.payload)
        return TaggedOutput(str(emission.exit), pair)

    def _fed(self, chunks: Iterable[list[Any]], place: str, sequences: dict[str, int]) -> Iterator[TaggedOutput]:
        """What comes of what the stage with state gives; small chunks are put together."""
        held = Held()
        for chunk in chunks:
            if type(chunk) is Aside:
                for emission in self._kernel.feed(chunk):
                    yield self._given(emission, place, sequences)
                continue
            held.add(chunk)
            if len(held) >= CHUNK_ITEMS:
                yield from self._cut(held.take(), place, sequences)
        yield from self._cut(held.take(), place, sequences)

    def _cut(self, items: list[Any], place: str, sequences: dict[str, int]) -> Iterator[TaggedOutput]:
        for piece in cut(items, CHUNK_ITEMS):
            for emission in self._kernel.feed(piece):
                yield self._given(emission, place, sequences)

    def finish_bundle(self) -> Iterator[TaggedOutput]:
        """What the splitters still hold; it goes to stages with state alone, so it needs no number."""
        with marking(self._node):
            for emission in self._kernel.flush():
                yield late(str(emission.exit), (emission.number, emission.payload))


class PartitionsFn(JobFn):
    """The partitions of a source, as a fresh start finds them."""

    def process(self, _: Any) -> Iterator[tuple[str, bytes]]:
        """All of them, each alone, or together where they have one watermark."""
        with marking(self._node):
            source, run = self._job.source(self._node), self.spec.run
            parts = Parts({name: Position(source.start(name), run=run) for name in source.partitions()})
            if not parts:
                parts[NO_PARTITION] = Position(None, ended=True, run=run)
            if not source.bounded and self._job.kernel(self.node_id).lags:
                yield ALL_PARTITIONS, parts.encoded()
            else:
                for name, position in parts.items():
                    yield name, Parts({name: position}).encoded()


class ReadFn(SegmentFn):
    """Reads the partitions of an element, in turns, for a moment at a time."""

    def setup(self) -> None:
        """Open the source."""
        super().setup()
        with marking(self._node):
            self._source = self._job.source(self._node)
        self._slices: dict[str, Slices] = {}

    def process(
        self,
        element: tuple[str, bytes],
        tracker: Any = beam.DoFn.RestrictionParam(PositionProvider()),  # noqa: B008
        estimator: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),  # noqa: B008
    ) -> Iterator[TaggedOutput]:
        """Read on from where the partitions stand."""
        with marking(self._node):
            parts = Parts.decoded(tracker.current_restriction()).in_run(self.spec.run)
            for name, position in parts.items():
                if name not in self._slices:
                    self._slices[name] = Slices(self._source, name)
                    if name != NO_PARTITION:
                        self._slices[name].check(position)
            if NO_PARTITION in parts:
                yield TaggedOutput(FIGURES, envelopes.no_figures(self.spec.run, f"{self._node.name}/{NO_PARTITION}"))
            deadline, told = time.monotonic() + BUDGET_SECONDS, {name: part.version for name, part in parts.items()}
            turns = deque(name for name, position in parts.items() if not position.ended)
            while turns and time.monotonic() < deadline:
                ready = [name for name in turns if self._slices[name].ready(parts[name].offset)]
                if not ready:
                    if any(position.version > told[each] for each, position in parts.items()):
                        break  # what was read goes on its way
                    time.sleep(POLL_SECONDS)
                    continue
                if not tracker.try_claim(BEGIN):
                    return
                name = ready[0]
                before = parts[name]
                parts[name] = yield from self._read(name, before, event_time(estimator.current_watermark()))
                tracker.try_claim(parts.encoded())
                turns.remove(name)
                if not parts[name].ended:
                    turns.append(name)
                    if parts[name].version == before.version:
                        time.sleep(POLL_SECONDS)
            moved = [name for name, position in parts.items() if position.version > told[name]]
            for name in moved:
                parts[name] = self._slices[name].kept(parts[name])
                place = f"{self._node.name}/{name}"
                yield TaggedOutput(FIGURES, envelopes.partition_figures(self._source, name, place, parts[name]))
            reached = event_time(estimator.current_watermark())
            watermark = self._watermark(parts, reached)
            # A partition that becomes idle moves it, too, without an item.
            if (moved or watermark > reached) and self._kernel.lags and not self._source.bounded:
                figures = envelopes.watermark(self.spec.run, self._node.name, watermark, ended=parts.ended)
                yield TaggedOutput(FIGURES, figures)
            if watermark > reached:
                # Behind all that was read: what the stages below get before it, they get before they hear of it.
                estimator.set_watermark(beam_time(watermark))
            if not parts.ended:
                if moved:
                    tracker.try_claim(parts.encoded())  # with what is kept of them
                tracker.defer_remainder(Duration.of(0))

    def _read(self, name: str, position: Position, watermark: int) -> Generator[TaggedOutput, None, Position]:
        """One slice of a partition; gives the position behind it."""
        slices, place, lags = self._slices[name], f"{self._node.name}/{name}", self._kernel.lags
        started, count = time.monotonic(), 0
        chunks, end = slices.read(position.offset)
        sequences = dict(position.sequences)
        clock = Clock(position.newest)
        clock.advance(watermark, lags)
        self._kernel.at(clock)
        for chunk in chunks:
            count += len(chunk)
            for emission in self._kernel.feed(chunk):
                yield self._given(emission, place, sequences)
        slices.took(count, started)
        ended = end is None
        own = None if ended else self._source.watermark(name, end)
        if own is not None:
            clock.advance(own, lags)
        return Position(
            position.offset if ended else end,
            ended,
            position.run,
            position.version + (1 if count or ended else 0),
            envelopes.added(position.counts, self._kernel.take_counts()),
            sequences,
            clock.newest,
            position.kept,
        )

    def _watermark(self, parts: Parts, before: int) -> int:
        """How far event time is in an element's partitions."""
        lags = self._kernel.lags
        if self._source.bounded or not lags:
            return BEGINNING
        marks = [
            (Clock(position.newest).watermark(lags), self._slices[name].heard)
            for name, position in parts.items()
            if not position.ended
        ]
        idle = min(stamp.node.idle for stamp in self._kernel.stamps) / 1000
        return of_partitions(marks, time.monotonic() - idle, before)


class KeyedFn(SegmentFn):
    """Runs a stage with state on one shard after another."""

    LOG = BagStateSpec("log", coders.BytesCoder())
    ABOUT = ReadModifyWriteStateSpec("about", coders.BytesCoder())
    TIMER = TimerSpec("end", TimeDomain.WATERMARK)

    def setup(self) -> None:
        """Make the kernel."""
        super().setup()
        self._keyed = keyed_kernel(self._node)

    def start_bundle(self) -> None:
        """Nothing is to be told."""
        super().start_bundle()
        self._told: dict[str, Shard] = {}

    def process(
        self,
        element: tuple[int, bytes],
        log: Any = beam.DoFn.StateParam(LOG),  # noqa: B008
        about: Any = beam.DoFn.StateParam(ABOUT),  # noqa: B008
        timer: Any = beam.DoFn.TimerParam(TIMER),  # noqa: B008
    ) -> Iterator[TaggedOutput]:
        """One payload of a shard; an empty one only makes the shard wait for the end."""
        with marking(self._node):
            number, payload = element
            kernel, place = self._keyed, f"{self._node.name}/{number}"
            kept = ShardState(kernel, (self.spec.run, self._node.name, number), log, about)
            shard = kept.load()
            if payload:
                yield from self._fed(with_aside(kernel, kernel.process(shard.state, payload)), place, shard.sequences)
                kept.changed(shard, [kernel.last])
                shard.counts = envelopes.added(shard.counts, self._kernel.take_counts())
            self._wait(shard, timer)
            kept.save(shard)
            if self.spec.most_records > 0:
                refuse_more(self._keyed, SHARDS.records(self.spec.run, self._keyed), self.spec.most_records)
            self._told[place] = shard

    def _wait(self, shard: Shard, timer: Any) -> None:
        """Set timers for when the shard has something to emit.

        Beam tells of one timer at a time and not of the watermark, and a timer that is set when another one fires
        waits for the next bundle: so those that follow are set together.
        """
        kernel, known = self._keyed, shard.timers
        dues: list[int] = []
        if kernel.timed and self.spec.unbounded:
            due = kernel.due(shard.state)
            # While many are set and none is late there is nothing to do: an item seldom opens an earlier window.
            if due is not None and (len(known) < _TIMERS // 4 or due < known[0]):
                dues = kernel.dues(shard.state, _TIMERS)
        if kernel.ends:
            dues.append(END)
        new = [due for due in dues if due not in known]
        for due in new:
            # Beam's timers fire when the watermark is beyond them, and a window ends when it is reached.
            at = GlobalWindow().max_timestamp() if due >= END else beam_time(due) - Duration(micros=1000)
            timer.set(at, dynamic_timer_tag=str(due))
        if new:
            shard.timers = tuple(sorted({*known, *new}))

    @on_timer(TIMER)
    def on_timer(
        self,
        number: Any = beam.DoFn.KeyParam,
        at: Any = beam.DoFn.TimestampParam,
        log: Any = beam.DoFn.StateParam(LOG),  # noqa: B008
        about: Any = beam.DoFn.StateParam(ABOUT),  # noqa: B008
        timer: Any = beam.DoFn.TimerParam(TIMER),  # noqa: B008
    ) -> Iterator[TaggedOutput]:
        """The watermark is where the shard has something to emit, or at the end of the input."""
        with marking(self._node):
            kernel, place = self._keyed, f"{self._node.name}/{number}"
            kept = ShardState(kernel, (self.spec.run, self._node.name, number), log, about)
            shard = kept.load()
            watermark = event_time(at)
            ended = watermark > LATEST + LONGEST  # Beam rounds the end of time
            due = kernel.on_end(shard.state) if ended else kernel.on_watermark(shard.state, watermark)
            yield from self._fed(with_aside(kernel, due), place, shard.sequences)
            for emission in self._kernel.flush():
                yield self._given(emission, place, shard.sequences)
            shard.counts = envelopes.added(shard.counts, self._kernel.take_counts())
            shard.timers = tuple(each for each in shard.timers if each > watermark)
            shard.ended = ended
            if ended:
                kept.replaced(shard)
            else:
                kept.changed(shard, [kernel.last])
                self._wait(shard, timer)
            kept.save(shard)
            self._told[place] = shard

    def finish_bundle(self) -> Iterator[TaggedOutput]:
        """What the splitters still hold, and how far the shards are."""
        yield from super().finish_bundle()
        for place, shard in self._told.items():
            yield late(FIGURES, self._figures(place, shard))

    def _figures(self, place: str, shard: Shard) -> tuple[int, bytes]:
        return envelopes.figures(
            self.spec.run, place, shard.version, {"counts": shard.counts, "ended": shard.ended or not self._keyed.ends}
        )


def refuse_more(kernel: KeyedKernel, held: int, most: int) -> None:
    """Fail a stage that holds more records than it may; ``most`` is not positive when it may hold any number.

    Raises:
        ItemError: When it does.
    """
    if 0 < most < held:
        raise ItemError(
            f"{kernel.kind} '{kernel.name}' holds {held} records, more than the "
            f"max_processor_accumulated_records of {most}",
            stage=kernel.name,
        )


def late(tag: str, pair: tuple[int, bytes]) -> TaggedOutput:
    """An output at the end of a bundle, which must say its window itself."""
    return TaggedOutput(tag, WindowedValue(pair, MIN_TIMESTAMP, (GlobalWindow(),)))
