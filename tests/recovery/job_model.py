"""A model of jobs, for random sequences of calls: their names and statuses, and what their sinks must hold."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from jetbridge import JobStatus, Pipeline, ProcessingGuarantee, StreamSource

NONE, AT_LEAST_ONCE, EXACTLY_ONCE = ProcessingGuarantee
BEGINNING = {JobStatus.NOT_RUNNING, JobStatus.STARTING}
ENDED = {JobStatus.COMPLETED, JobStatus.FAILED}


def watching(stream, out, position="earliest"):
    """A stream's numbers as they come, and for each one the sum of its kind so far."""
    pipeline = Pipeline.create()
    numbers = pipeline.read_from(StreamSource(stream, initial_position=position)).set_name("in")
    numbers.write_to(Pipeline.to_list(f"{out}-plain")).set_name("plain")
    sums = numbers.group_by(lambda n: n % 3).rolling_aggregate(accumulator=lambda total, n: total + n, initial=0)
    sums.set_name("sum").write_to(Pipeline.to_list(f"{out}-sums")).set_name("sums")
    return pipeline


@dataclass(frozen=True)
class Place:
    """Where a run begins: the first item that it reads, and the first that its sums contain."""

    offset: int
    origin: int

    def sums(self, items):
        """What it writes for each of its items."""
        totals, found = defaultdict(int), []
        for index, n in enumerate(items):
            if index >= self.origin:
                totals[n % 3] += n
            if index >= self.offset:
                found.append((n % 3, totals[n % 3]))
        return found


@dataclass
class ModelJob:
    """A job as it should be.

    Attributes:
        runs: Where its runs began, and how many items there were when each ended; None for the present one.
        begun: Whether it is known to have been RUNNING since it was last started.
        stored: Whether it is known to have been RUNNING with a guarantee, so that its place is in the store.
        deaths: Of workers since it was started, or has committed anything.
    """

    id: str
    name: str | None
    out: str
    guarantee: ProcessingGuarantee
    latest: bool
    snapshot: str | None
    owner: int
    status: JobStatus = JobStatus.RUNNING
    suspended_by: str | None = None
    cancelled: bool = False
    begun: bool = False
    stored: bool = False
    deaths: int = 0
    runs: list = field(default_factory=list)
    events: list = field(default_factory=list)

    @property
    def active(self):
        return self.status not in ENDED

    def begin(self, place):
        """A new run, or the first."""
        self.runs.append([place, None])

    def end_run(self, count):
        """The present run reads nothing of what comes from now on."""
        self.runs[-1][1] = count

    @property
    def place(self):
        return self.runs[-1][0]

    def may_be(self, status):
        """Whether a status is what the job should have: one that was just submitted may still begin."""
        return status is self.status or (self.status is JobStatus.RUNNING and not self.begun and status in BEGINNING)

    def check_outputs(self, plain, sums, items, *, settled):
        """Check what the sinks hold; when settled, the last run must have read everything."""
        assert len(plain) == len(sums), "one commit holds both"
        if self.guarantee is AT_LEAST_ONCE:
            self._check_at_least_once(plain, sums, items, settled)
        else:
            self._check_runs(plain, items, settled)
            if len(self.runs) == 1:
                expected = self.place.sums(items)[: len(plain)]
                assert by_key(sums) == by_key(expected)
            assert set(sums) <= {pair for place, _ in self.runs for pair in place.sums(items)}

    def _check_runs(self, plain, items, settled):
        """Each run has written the first of its items, one after the other; the last one, when settled, all."""
        ends = {0}
        for number, (place, count) in enumerate(self.runs):
            own = items[place.offset : count]
            must = {len(own)} if settled and number == len(self.runs) - 1 else range(len(own) + 1)
            ends = {end + k for end in ends for k in must if plain[end : end + k] == own[:k]}
        assert len(plain) in ends, (self, plain, items)

    def _check_at_least_once(self, plain, sums, items, settled):
        own = items[self.place.offset :]
        expected = self.place.sums(items)
        if settled:
            assert plain[-1:] == own[-1:]
            assert set(plain) == set(own)
            assert set(sums) == set(expected)
        assert set(sums) <= set(expected)
        index = {n: i for i, n in enumerate(own)}
        last = -1
        for n in plain:
            assert index[n] <= last + 1, "an item was left out"
            last = index[n]


def by_key(pairs):
    found = defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return found
