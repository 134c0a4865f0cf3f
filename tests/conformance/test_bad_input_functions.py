"""Functions that raise, and captures that cannot travel: the stage and the item are named, nothing is lost."""

from __future__ import annotations

import functools
import socket
import threading

import pytest

from jetbridge import JobFailedError, Pipeline, aggregations
from jetbridge.errors import SerializationError


class TestFunctionsThatRaise:
    @pytest.mark.parametrize("parallelism", [1, 2])
    def test_on_item_4711(self, jet, says, fails):
        def parse(n):
            if n == 4_711:
                raise ValueError(f"cannot parse {n}")
            return n

        caught = fails(range(20_000), lambda s: s.map(parse).set_name("parse"))
        says(caught, "map 'parse'", "4711", "ValueError: cannot parse 4711")
        assert caught.value.stage == "parse"
        assert caught.value.item == "4711"
        assert "in parse" in caught.value.user_traceback
        assert 'raise ValueError(f"cannot parse {n}")' in caught.value.user_traceback
        assert "apache_beam" not in caught.value.user_traceback, "the traceback is the user's"

    @pytest.mark.parametrize(
        ("build", "stage"),
        [
            (lambda s: s.map(lambda n: 1 // n), "map"),
            (lambda s: s.filter(lambda n: 1 // n), "filter"),
            (lambda s: s.flat_map(lambda n: [1 // n]), "flat_map"),
            (lambda s: s.flat_map(lambda n: (1 // m for m in [n])), "flat_map"),
            (lambda s: s.group_by(lambda n: 1 // n), "group_by"),
            (lambda s: s.distinct(lambda n: 1 // n), "distinct"),
            (lambda s: s.sort(lambda n: 1 // n), "sort"),
            (lambda s: s.aggregate(accumulator=lambda a, n: 1 // n, initial=0), "aggregate"),
            (lambda s: s.group_by(str).aggregate(accumulator=lambda a, n: 1 // n, initial=0), "aggregate"),
            (
                lambda s: s.group_by(str).aggregate(accumulator=lambda a, n: 1 // n, initial=0, combiner=max),
                "aggregate",
            ),
            (lambda s: s.aggregate(accumulator=max, initial=0, finisher=lambda n: 1 // (n - 2)), "aggregate"),
            (lambda s: s.aggregate(aggregations.summing(lambda n: 1 // n)), "aggregate"),
            (lambda s: s.sort().map(lambda n: 1 // n), "map"),
            (lambda s: s.group_by(str).collect().map(lambda pair: 1 // pair[1][0]), "map"),
        ],
        ids=[
            "map",
            "filter",
            "flat_map",
            "generator",
            "group_by",
            "distinct",
            "sort",
            "fold",
            "keyed-fold",
            "combined",
            "finisher",
            "operation",
            "after-sort",
            "after-group",
        ],
    )
    def test_the_stage_is_named(self, jet, build, stage, says, fails):
        caught = fails([1, 2, 0], build)
        says(caught, stage, "ZeroDivisionError")
        assert caught.value.stage == stage
        assert "ZeroDivisionError" in caught.value.user_traceback

    @pytest.mark.parametrize("kind", [SystemExit, StopIteration, AssertionError, RecursionError, MemoryError])
    @pytest.mark.parametrize("operator", ["map", "filter", "flat_map"])
    def test_whatever_it_raises_the_job_fails(self, jet, kind, operator, says, fails):
        def bad(n):
            if n == 2:
                raise kind("on purpose")
            return [n]

        caught = fails([1, 2, 3], lambda stage: getattr(stage, operator)(bad))
        says(caught, operator, "item 2", kind.__name__)

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, GeneratorExit])
    @pytest.mark.parametrize("parallelism", [1, 2])
    def test_even_what_is_no_exception_ends_the_job(self, says, fails, kind):
        def bad(n):
            raise kind("on purpose")

        caught = fails([1, 2, 3], lambda stage: stage.map(bad).set_name("bad"))
        says(caught, kind.__name__)

    def test_an_exception_of_the_scripts_own(self, script, runner):
        done = script(
            """
            import jetbridge
            from jetbridge import Pipeline

            class Unfit(Exception):
                def __init__(self, code, *, hint):
                    super().__init__(code, hint)

            def refuse(item):
                raise Unfit(7, hint="try another")

            with jetbridge.connect() as client:
                pipeline = Pipeline.create()
                pipeline.read_from(Pipeline.from_list("n", [1])).map(refuse).write_to(Pipeline.to_list("r"))
                try:
                    client.get_jet().submit(pipeline).join(timeout=60)
                except jetbridge.JobFailedError as error:
                    print(error)
            """,
            env={"JETBRIDGE_RUNNER": runner},
        )
        assert "Unfit" in done.stdout
        assert "try another" in done.stdout

    def test_an_item_whose_repr_raises(self, jet, says, fails):
        class Shy:
            def __repr__(self):
                raise RuntimeError("no")

        caught = fails([1], lambda s: s.map(lambda n: Shy()).map(lambda shy: shy + 1).set_name("add"))
        says(caught, "add", "Shy", "TypeError")

    def test_a_huge_item_is_shortened(self, jet, fails):
        caught = fails(["x" * 1_000_000], lambda s: s.map(int))
        assert len(str(caught.value)) < 3_000

    @pytest.mark.parametrize("bad", [None, 3], ids=repr)
    def test_flat_map_that_gives_no_iterable(self, jet, bad, says, fails):
        caught = fails([7], lambda s: s.flat_map(lambda n: bad).set_name("explode"))
        says(caught, "explode", "iterable", type(bad).__name__, "7")

    def test_what_a_failed_job_committed_before_is_whole(self, jet):
        """Only a prefix in source order may be there: whole commits."""
        pipeline, results = Pipeline.create(), jet.list()
        stage = pipeline.read_from(Pipeline.from_list("numbers", range(100_000)))
        stage.map(lambda n: n if n != 99_999 else 1 // 0).write_to(Pipeline.to_list(results.name))
        with pytest.raises(JobFailedError, match="99999"):
            jet.run(pipeline)
        items = results.get_all()
        assert items == list(range(len(items)))


class TestCaptures:
    @pytest.fixture
    def sock(self):
        with socket.socket() as each:
            yield each

    @pytest.fixture
    def refused(self, jet, says):
        def check(stage_name, fn, *parts):
            before = [job.id for job in jet.service.get_jobs()]
            pipeline = Pipeline.create()
            stage = pipeline.read_from(Pipeline.from_list("numbers", [1])).map(str).map(fn).set_name(stage_name)
            stage.write_to(Pipeline.to_list("never"))
            with pytest.raises(SerializationError) as caught:
                jet.submit(pipeline)
            says(caught, stage_name, *parts)
            assert [job.id for job in jet.service.get_jobs()] == before, "no job was started"

        return check

    def test_an_open_socket(self, refused, sock):
        refused("send", lambda item: sock.send(item), "sock", "socket")

    def test_a_lock(self, refused):
        guard = threading.Lock()
        refused("guarded", lambda item: guard and item, "guard", "lock")

    def test_an_open_file(self, refused, folder):
        with (folder / "out").open("w") as log_file:
            refused("write", lambda item: log_file.write(item), "log_file")

    def test_a_generator(self, refused):
        ids = (n for n in range(3))
        refused("number", lambda item: (next(ids), item), "ids", "generator")

    def test_inside_a_partial(self, refused):
        guard = threading.Lock()
        refused("partial", functools.partial(lambda lock, item: item, guard), "lock")

    def test_an_item_that_cannot_travel(self, jet, says):
        pipeline = Pipeline.create()
        pipeline.read_from(Pipeline.from_list("locks", [threading.Lock()])).write_to(Pipeline.to_list("never"))
        with pytest.raises(SerializationError) as caught:
            jet.submit(pipeline)
        says(caught, "locks", "lock")

    def test_an_item_that_cannot_be_stored(self, jet, says, fails):
        caught = fails([1], lambda s: s.map(lambda n: lambda: n), sink=Pipeline.to_list(jet.list("fns").name))
        says(caught, "fns", "function")

    @pytest.mark.parametrize(
        ("build", "stage"),
        [
            (lambda s: s.group_by(lambda lock: 1), "group_by"),
            (lambda s: s.distinct(lambda lock: 1), "distinct"),
            (lambda s: s.sort(lambda lock: 1), "sort"),
            (lambda s: s.aggregate(accumulator=lambda acc, lock: acc, initial=0), "aggregate"),
            (lambda s: s.aggregate(aggregations.to_list()), "aggregate"),
            (lambda s: s.aggregate(accumulator=lambda acc, lock: lock, combiner=lambda a, b: a), "aggregate"),
            (lambda s: s.group_by(lambda lock: 1).aggregate(aggregations.max_by(id)), "aggregate"),
        ],
        ids=["group_by", "distinct", "sort", "fold", "to_list", "accumulator", "max_by"],
    )
    def test_an_item_that_cannot_reach_its_shard(self, says, fails, build, stage):
        caught = fails([1], lambda s: build(s.map(lambda n: threading.Lock())))
        says(caught, stage, "lock")
        assert caught.value.stage == stage
        assert "apache_beam" not in str(caught.value)
