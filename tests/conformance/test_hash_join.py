"""hash_join: items with what matches them in batch stages."""

from __future__ import annotations

import time

import pytest

from jetbridge import (
    JobConfig,
    JobStateError,
    JobStatus,
    Pipeline,
    ProcessingGuarantee,
    StreamSource,
    aggregations,
    windows,
)

CITIES = [("CH", "Bern"), ("CH", "Basel"), ("FR", "Lyon"), ("IT", "Rome")]
VISITS = [{"n": n, "in": ("CH", "FR", "XX")[n % 3]} for n in range(3_000)]
ON = (lambda visit: visit["in"], lambda city: city[0])


def where(visit):
    return visit["in"]


def naive(visits, *, outer=True):
    found = []
    for visit in visits:
        mine = [city for city in CITIES if city[0] == visit["in"]]
        found += [(visit["n"], city[1]) for city in mine] or ([(visit["n"], None)] if outer else [])
    return sorted(found, key=repr)


def short(visit, city):
    return visit["n"], city and city[1]


@pytest.fixture
def joined(jet):
    """Runs what is built of the visits and the cities."""

    def run(build, visits=VISITS, cities=CITIES, config=None):
        pipeline, results = Pipeline.create(), jet.list()
        left = pipeline.read_from(Pipeline.from_list("visits", visits))
        right = pipeline.read_from(Pipeline.from_list("cities", cities))
        build(left, right).write_to(Pipeline.to_list(results.name))
        jet.run(pipeline, config)
        return sorted(results.get_all(), key=repr)

    return run


@pytest.mark.parametrize("guarantee", [ProcessingGuarantee.NONE, ProcessingGuarantee.EXACTLY_ONCE], ids=str)
@pytest.mark.parametrize("parallelism", [1, 2])
def test_batches(joined, guarantee):
    config = JobConfig(processing_guarantee=guarantee)
    assert joined(lambda left, right: left.hash_join(right, ON, short), config=config) == naive(VISITS)


def test_without_a_function_and_with_entries(joined):
    results = joined(lambda left, right: left.hash_join(right, where), VISITS[:3])
    expected = [(VISITS[0], "Basel"), (VISITS[0], "Bern"), (VISITS[1], "Lyon"), (VISITS[2], None)]
    assert results == sorted(expected, key=repr)


def test_all_matches_in_one_list(joined):
    results = joined(
        lambda left, right: left.hash_join(right, where, as_list=True).map(lambda pair: pair[1]), VISITS[:3]
    )
    assert results == [["Bern", "Basel"], ["Lyon"], []]


def test_an_empty_build_side(joined):
    assert joined(lambda left, right: left.hash_join(right, ON, short), cities=[]) == sorted(
        ((visit["n"], None) for visit in VISITS), key=repr
    )


def test_no_items(joined):
    assert joined(lambda left, right: left.hash_join(right, ON), visits=[]) == []


def test_a_build_side_that_is_aggregated_and_comes_from_the_same_source(joined):
    def build(left, right):
        counts = left.group_by(where).aggregate(aggregations.counting())
        counted = left.hash_join(counts, where, lambda visit, count: (visit["n"], count))
        return counted.merge(right.filter(lambda _: False))

    assert joined(build) == sorted(((visit["n"], 1_000) for visit in VISITS), key=repr)


def test_a_join_of_what_was_joined(joined):
    def build(left, right):
        return left.hash_join(right, ON, short).hash_join(right.map(lambda city: city[::-1]), lambda pair: pair[1])

    lands = {city: land for land, city in CITIES}
    expected = [((n, city), lands.get(city)) for n, city in naive(VISITS)]
    assert joined(build) == sorted(expected, key=repr)


def test_it_is_on_error_of_all_its_parts(jet):
    pipeline, results, bad = Pipeline.create(), jet.list(), jet.list()
    left = pipeline.read_from(Pipeline.from_list("left", [1, "x", 4, 0]))
    right = pipeline.read_from(Pipeline.from_list("right", [1, None, 0]))
    joined = left.hash_join(right, (lambda n: n + 0, lambda n: n + 0), lambda n, match: n // n)
    joined.on_error(Pipeline.to_list(bad.name)).write_to(Pipeline.to_list(results.name))
    jet.run(pipeline)
    assert results.get_all() == [1, 1]
    assert sorted((failed.item for failed in bad.get_all()), key=repr) == ["x", 0, None]


@pytest.mark.parametrize("guarantee", [ProcessingGuarantee.EXACTLY_ONCE, ProcessingGuarantee.NONE], ids=str)
def test_a_stream_over_a_suspension(jet, until, guarantee):
    pipeline, results = Pipeline.create(), jet.list()
    stream = jet.client.get_stream(jet.name("visits"))
    stream.publish_all(VISITS[:100])
    visits = pipeline.read_from(StreamSource(stream.name))
    cities = pipeline.read_from(Pipeline.from_list("cities", CITIES))
    visits.hash_join(cities, ON, short).set_name("cities of visits").write_to(Pipeline.to_list(results.name))
    job = jet.submit(pipeline, JobConfig(processing_guarantee=guarantee, snapshot_interval_millis=500))
    expected = naive(VISITS[:100])
    until(lambda: results.size() >= len(expected))
    if guarantee is ProcessingGuarantee.EXACTLY_ONCE:
        job.suspend()
        assert job.status is JobStatus.SUSPENDED
        job.resume()
    stream.publish_all(VISITS[100:200])
    expected = naive(VISITS[:200])
    until(lambda: results.size() >= len(expected))
    assert sorted(results.get_all(), key=repr) == expected


def test_results_keep_the_items_times(jet, until):
    pipeline, results, late = Pipeline.create(), jet.list(), jet.list()
    stream = jet.client.get_stream(jet.name("visits"))
    visits = pipeline.read_from(StreamSource(stream.name)).with_timestamps(lambda visit: visit["n"])
    cities = pipeline.read_from(Pipeline.from_list("cities", CITIES))
    counts = visits.hash_join(cities, ON, short).window(windows.tumbling(50)).aggregate(aggregations.counting())
    counts.write_to(Pipeline.to_list(results.name))
    counts.late_items().write_to(Pipeline.to_list(late.name))
    stream.publish_all([*VISITS[:103], VISITS[2]])
    jet.submit(pipeline)
    until(lambda: results.size() >= 2 and late.size() >= 1)
    assert [(r.start, r.value) for r in results.get_all()] == [
        (0, len(naive(VISITS[:50]))),
        (50, len(naive(VISITS[50:100]))),
    ]
    assert late.get_all() == [(2, None)]


def slowly(n):
    time.sleep(0.0004)
    return n


def suspend_and_resume(job):
    """A job that was quicker, and has come to its end, stays there."""
    try:
        job.suspend()
    except JobStateError:
        assert job.status is JobStatus.COMPLETED
    else:
        job.resume()


@pytest.mark.parametrize("same", [True, False], ids=["its own build side", "another source"])
def test_suspended_again_and_again(jet, until, same):
    """While the build side is read, while items wait for it, while it is handed over and while items are joined."""
    pipeline, results = Pipeline.create(), jet.list()
    numbers = pipeline.read_from(Pipeline.from_list("numbers", range(3_000))).map(slowly)
    other = numbers if same else pipeline.read_from(Pipeline.from_list("other", range(3_000))).map(slowly)
    squares = other.map(lambda n: (n % 1_500, n * n))
    joined = numbers.hash_join(squares, lambda n: n % 1_000, lambda n, square: (n, square), as_list=True)
    joined.set_name("squared").write_to(Pipeline.to_list(results.name))
    config = JobConfig(processing_guarantee=ProcessingGuarantee.EXACTLY_ONCE, snapshot_interval_millis=500)
    job = jet.submit(pipeline, config)
    for seen in (200, 1_000, 2_400):
        until(lambda seen=seen: job.get_metrics().stages["squared-build"].received_count >= seen or job.is_terminal())
        suspend_and_resume(job)
    until(lambda: job.get_metrics().stages["squared"].received_count >= 2_000 or job.is_terminal())
    suspend_and_resume(job)
    job.join(timeout=60)
    expected = [(n, [m * m for m in (n % 1_000, n % 1_000 + 1_500)]) for n in range(3_000)]
    assert sorted(results.get_all()) == [(n, sorted(squares)) for n, squares in expected]
