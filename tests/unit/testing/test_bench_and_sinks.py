from __future__ import annotations

import pytest

from jetbridge import Pipeline, PipelineError, aggregations, services, testing, windows
from jetbridge.errors import ItemError


def results(source, build, **options):
    pipeline = Pipeline.create()
    build(pipeline.read_from(source)).write_to(Pipeline.to_list("results"))
    return testing.run_kernels(pipeline, **options)["results"]


@pytest.mark.parametrize("chunk", [1, 7, 4096])
@pytest.mark.parametrize("shards", [1, 128])
def test_a_batch_pipeline_without_an_engine(chunk, shards):
    found = results(
        testing.items(*range(100)),
        lambda s: s.filter(lambda n: n % 2).group_by(lambda n: n % 3).aggregate(aggregations.summing(lambda n: n)),
        chunk=chunk,
        shards=shards,
    )
    assert dict(found) == {k: sum(n for n in range(1, 100, 2) if n % 3 == k) for k in range(3)}


def test_branches_merge_and_two_sinks():
    pipeline = Pipeline.create()
    numbers = pipeline.read_from(testing.items(1, 2, 3))
    numbers.filter(lambda n: n > 1).merge(numbers.map(lambda n: -n)).write_to(Pipeline.to_list("both"))
    numbers.aggregate(aggregations.counting()).write_to(Pipeline.to_list("count"))
    found = testing.run_kernels(pipeline)
    assert sorted(found["both"]) == [-3, -2, -1, 2, 3]
    assert found["count"] == [3]


def test_a_stage_of_a_pipeline_that_is_not_complete():
    """What leads to it is run, and nothing else; the pipeline stays as it was."""
    pipeline = Pipeline.create()
    numbers = pipeline.read_from(testing.items(1, 2, 3))
    failing = numbers.map(lambda n: 1 / 0)
    even = numbers.filter(lambda n: n % 2 == 0)
    assert testing.run_kernels(even) == [2]
    assert testing.run_kernels(numbers) == [1, 2, 3]
    with pytest.raises(ItemError, match="ZeroDivisionError"):
        testing.run_kernels(failing)
    with pytest.raises(PipelineError, match="has no sink"):
        pipeline.plan()


def test_what_a_stage_leaves_aside():
    numbers = Pipeline.create().read_from(testing.scripted([1, 12, 3])).with_timestamps(lambda at: at)
    counts = numbers.window(windows.tumbling(10)).aggregate(aggregations.counting())
    assert testing.run_kernels(counts.late_items()) == [3]
    assert [window.value for window in testing.run_kernels(counts)] == [1, 1]


@pytest.mark.parametrize("chunk", [1, 4096])
def test_a_hash_join_knows_the_end_of_its_build_side(chunk):
    pipeline = Pipeline.create()
    sales = pipeline.read_from(testing.items("tea", "mate", "tea"))
    prices = pipeline.read_from(testing.items(*enumerate(range(100)), ("tea", 3)))
    found = testing.run_kernels(sales.hash_join(prices, lambda sale: sale), chunk=chunk)
    assert sorted(found, key=str) == [("mate", None), ("tea", 3), ("tea", 3)]


def test_services_are_destroyed():
    made = []
    factory = services.shared_service(lambda context: made.append("made") or made, lambda service: made.append("gone"))
    stage = Pipeline.create().read_from(testing.items(1, 0))
    assert testing.run_kernels(stage.map_using_service(factory, lambda service, n: len(service) + n)) == [2, 1]
    with pytest.raises(ItemError):
        testing.run_kernels(stage.map_using_service(factory, lambda service, n: 1 / n))
    assert made == ["made", "gone"] * 2


def test_an_aggregate_of_nothing():
    assert results(testing.items(), lambda s: s.aggregate(aggregations.counting())) == [0]


def test_a_script_with_watermarks():
    source = testing.scripted([1, 4, testing.watermark(5), 2, 12], [3], times=lambda item: item)
    found = results(
        source,
        lambda s: s.with_native_timestamps().window(windows.tumbling(5)).aggregate(aggregations.to_list()),
    )
    assert [(w.start, sorted(w.value)) for w in found] == [(0, [1, 3, 4]), (10, [12])]


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_what_is_late_does_not_depend_on_chunks(chunk):
    source = testing.scripted([1, 9, 30, 3, 31, 22, 12, 60], times=lambda item: item)
    pipeline = Pipeline.create()
    timed = pipeline.read_from(source).with_timestamps(lambda item: item, allowed_lag=5)
    counts = timed.window(windows.tumbling(10)).aggregate(aggregations.to_list())
    counts.map(lambda w: (w.start, w.value)).write_to(
        testing.assert_ordered([(0, [1, 9]), (20, [22]), (30, [30, 31]), (60, [60])])
    )
    counts.late_items().write_to(Pipeline.to_list("late"))
    assert testing.run_kernels(pipeline, chunk=chunk)["late"] == [3, 12]


def test_a_failing_function_names_its_item():
    with pytest.raises(ItemError, match="map 'half' failed on item 0: ZeroDivisionError"):
        results(testing.items(1, 0), lambda s: s.map(lambda n: 1 / n).set_name("half"))


def test_a_stored_structure_is_refused():
    with pytest.raises(PipelineError, match="no data folder with map 'prices'"):
        results(Pipeline.from_map("prices"), lambda s: s)


@pytest.mark.parametrize(
    ("sink", "message"),
    [
        (testing.assert_ordered([1, 2, 3]), "item 0 is 3 and should be 1"),
        (testing.assert_ordered([3, 2]), "3 items came and should be 2"),
        (testing.assert_any_order([1, 2, 2]), r"missing \[2\], not expected \[3\]"),
        (testing.assert_contains([1, 1]), r"missing \[1\]"),
    ],
    ids=["order", "count", "any-order", "contains"],
)
def test_sinks_say_what_is_wrong(sink, message):
    pipeline = Pipeline.create()
    pipeline.read_from(testing.items(3, 2, 1)).write_to(sink)
    with pytest.raises(AssertionError, match=message):
        testing.run_kernels(pipeline)


@pytest.mark.parametrize(
    "sink",
    [
        testing.assert_ordered([[3], {2: 1}, 1]),
        testing.assert_any_order([1, {2: 1}, [3]]),
        testing.assert_contains([{2: 1}]),
    ],
    ids=["order", "any-order", "contains"],
)
def test_sinks_take_what_is_right_also_when_it_cannot_be_hashed(sink):
    pipeline = Pipeline.create()
    pipeline.read_from(testing.items([3], {2: 1}, 1)).write_to(sink)
    assert testing.run_kernels(pipeline) == {sink.name: [[3], {2: 1}, 1]}


def test_a_rate_must_be_positive():
    with pytest.raises(PipelineError, match="more than 0 items a second; got 0"):
        testing.item_stream(0)


def test_scripts_leave_nothing_in_the_temporary_folder(script, tmp_path):
    """What a script had gone through is kept as long as its process, forked workers' ends notwithstanding."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    script(
        """
        import os, tempfile
        from jetbridge import testing

        source = testing.scripted([1, testing.PAUSE, 2])
        if not os.fork():
            raise SystemExit
        os.wait()
        source.release()
        assert os.listdir(os.path.join(tempfile.gettempdir(), os.listdir(tempfile.gettempdir())[0]))
        """,
        env={"TMPDIR": str(folder)},
    )
    assert not list(folder.iterdir())
