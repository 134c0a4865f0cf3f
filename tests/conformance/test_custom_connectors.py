"""Sources and sinks of one's own, by the base classes of ``jetbridge.connectors``."""

from __future__ import annotations

import pytest

from jetbridge import JobConfig, JobFailedError, Pipeline, ServiceFactory, SinkError, SourceError
from jetbridge.connectors import Sink, Source, SplittableSource


class Parts(Source):
    """Some partitions that can only be read one item after the other."""

    kind = "parts"

    def __init__(self, sizes, *, bad=None):
        super().__init__("parts")
        self.sizes = sizes
        self.bad = bad

    def partitions(self):
        return [str(number) for number in range(len(self.sizes))]

    def read(self, partition, offset, limit):
        start = offset or 0
        end = min(start + min(limit, 700), self.sizes[int(partition)])
        if self.bad is not None and start <= self.bad < end:
            raise OSError("the wire is cut")
        return [(partition, n) for n in range(start, end)], end if end < self.sizes[int(partition)] else None

    def size(self, partition):
        return self.sizes[int(partition)]

    def position(self, partition, offset):
        return offset or 0


class Squares(SplittableSource):
    """One partition that can be cut without reading it."""

    def __init__(self, count):
        super().__init__("squares")
        self.count = count

    def partitions(self):
        return ["0"]

    def split(self, partition, offset, limit):
        end = (offset or 0) + limit
        return end if end < self.count else None

    def read_range(self, partition, start, end):
        stop = self.count if end is None else end
        for at in range(start or 0, stop, 1_000):
            yield [n * n for n in range(at, min(at + 1_000, stop))]


class Silent(Source):
    """Says nothing of its size, and gives no items at first."""

    def partitions(self):
        return ["a"]

    def start(self, partition):
        return "begin"

    def read(self, partition, offset, limit):
        return {"begin": ([], "middle"), "middle": ([1], "end"), "end": ([2], None)}[offset]


class Lines(Sink):
    """Writes a file, and a mark when the job has completed."""

    def __init__(self, path, *, bad=None, refuse=None):
        super().__init__("lines")
        self.path = str(path)
        self.bad = bad
        self.refuse = refuse

    def check(self):
        if self.refuse:
            raise SinkError(f"{self.path}: {self.refuse}")

    def open(self, context):
        super().open(context)
        self.calls = [f"open {context.stage} {context.job_name}"]
        self.items = []

    def write(self, chunk):
        items = chunk.items()
        assert chunk.count == len(items)
        if self.bad in items:
            raise OSError("the disk is gone")
        self.items += [(chunk.sequence, item) for item in items]

    def flush(self):
        self.calls.append("flush")

    def complete(self):
        self.calls.append("complete")

    def close(self):
        with open(self.path, "w") as file:
            file.writelines(f"{sequence} {item}\n" for sequence, item in self.items)
            file.writelines(f"# {call}\n" for call in self.calls)


@pytest.fixture
def written(folder):
    path = folder / "out"

    def read():
        lines = path.read_text().splitlines()
        pairs = [line.split(" ", 1) for line in lines if not line.startswith("#")]
        return (
            [int(sequence) for sequence, _ in pairs],
            [item for _, item in pairs],
            [line.removeprefix("# ") for line in lines if line.startswith("#")],
        )

    return path, read


@pytest.mark.parametrize("parallelism", [1, 2])
@pytest.mark.parametrize("sizes", [[], [0], [1], [5_000], [3_000, 0, 2_500, 1]], ids=repr)
def test_every_partition_is_read_in_its_order(jet, sizes):
    results = jet.collect(Parts(sizes))
    assert len(results) == sum(sizes)
    for partition, size in enumerate(sizes):
        assert [n for which, n in results if which == str(partition)] == list(range(size))


@pytest.mark.parametrize("parallelism", [1, 2])
@pytest.mark.parametrize("count", [0, 1, 40_000])
def test_a_source_that_can_be_cut(jet, count):
    assert jet.collect(Squares(count)) == [n * n for n in range(count)]


def test_a_read_without_items_is_not_the_end(jet):
    assert jet.collect(Silent("silent")) == [1, 2]


@pytest.mark.parametrize("parallelism", [1, 2])
def test_progress_is_told_from_size_and_position(jet, parallelism):
    pipeline, results = Pipeline.create(), jet.list()
    pipeline.read_from(Parts([3_000, 1_000])).write_to(Pipeline.to_list(results.name))
    metrics = jet.run(pipeline).get_metrics()
    assert metrics.progress == 1.0
    assert (metrics.sources["parts"].position, metrics.sources["parts"].size) == (4_000, 4_000)


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_source_that_fails_is_named(jet, parallelism):
    pipeline, results = Pipeline.create(), jet.list()
    pipeline.read_from(Parts([100, 3_000], bad=2_000)).set_name("wire").write_to(Pipeline.to_list(results.name))
    with pytest.raises(JobFailedError, match="wire") as caught:
        jet.run(pipeline)
    assert caught.value.stage == "wire"
    assert "OSError: the wire is cut" in str(caught.value)
    # On Flink the other partition may have been read by another task, and its rows written in a bundle of their own.
    whole = [[], [("0", n) for n in range(100)]]
    assert results.get_all() in (whole if jet.runner == "flink" and parallelism == 2 else whole[:1])


class Picky(Parts):
    def check(self):
        raise SourceError("parts: nothing is plugged in")


def test_a_check_that_fails_starts_nothing(jet, folder):
    before = len(jet.service.get_jobs())
    pipeline = Pipeline.create()
    pipeline.read_from(Picky([1])).write_to(Pipeline.to_list("never"))
    with pytest.raises(SourceError, match="nothing is plugged in"):
        jet.submit(pipeline)
    pipeline = Pipeline.create()
    pipeline.read_from(Parts([1])).write_to(Lines(folder / "out", refuse="no room"))
    with pytest.raises(SinkError, match="no room"):
        jet.submit(pipeline)
    assert len(jet.service.get_jobs()) == before


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_sink_gets_numbered_chunks_in_order(jet, written, parallelism):
    path, read = written
    pipeline = Pipeline.create()
    pipeline.read_from(Squares(20_000)).write_to(Lines(path)).set_name("paper")
    job = jet.run(pipeline)
    sequences, items, calls = read()
    assert items == [str(n * n) for n in range(20_000)]
    assert sorted(set(sequences)) == list(range(max(sequences) + 1)), "no number is left out"
    assert sequences == sorted(sequences)
    assert calls[0] == f"open paper {job.id}"
    assert calls[-1] == "complete"
    assert "flush" in calls


def test_a_sink_of_no_items_completes(jet, written):
    path, read = written
    pipeline = Pipeline.create()
    pipeline.read_from(Squares(0)).write_to(Lines(path))
    jet.run(pipeline)
    assert read()[2][-1] == "complete"


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_failed_job_does_not_complete_its_sinks(jet, written, parallelism):
    path, read = written
    pipeline = Pipeline.create()
    pipeline.read_from(Squares(10)).map(lambda n: 1 // (n - 81)).write_to(Lines(path))
    with pytest.raises(JobFailedError, match="ZeroDivisionError"):
        jet.run(pipeline)
    _, items, calls = read()
    assert items == [], "chunks arrive only after their commit"
    assert "complete" not in calls


def test_a_sink_that_fails_is_named(jet, written):
    path, read = written
    pipeline = Pipeline.create()
    pipeline.read_from(Squares(10)).write_to(Lines(path, bad=49)).set_name("paper")
    with pytest.raises(JobFailedError, match="paper") as caught:
        jet.run(pipeline)
    assert caught.value.stage == "paper"
    assert "OSError: the disk is gone" in str(caught.value)
    assert "complete" not in read()[2]


class Region(Squares):
    """Its items are what the job's arguments say."""

    def open(self, context):
        super().open(context)
        self.regions = context.arguments["regions"]

    def read_range(self, partition, start, end):
        yield list(self.regions)


class Signed(Lines):
    def open(self, context):
        super().open(context)
        self.calls.append(f"for {context.arguments['owner']}")


def test_connectors_and_services_have_the_arguments_of_the_job(jet, written):
    path, read = written
    pipeline = Pipeline.create()
    greeting = ServiceFactory(lambda context: context.arguments["greeting"])
    greeted = pipeline.read_from(Region(1)).map_using_service(greeting, lambda words, region: f"{words} {region}")
    greeted.write_to(Signed(path))
    arguments = {"regions": ["north", "south"], "greeting": "hello", "owner": None}
    jet.run(pipeline, JobConfig(arguments=arguments))
    _, items, calls = read()
    assert items == ["hello north", "hello south"]
    assert calls[1] == "for None"
