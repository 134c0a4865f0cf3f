from __future__ import annotations

import sqlite3
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbridge.errors import ItemError, PipelineError
from jetbridge.kernels.aside import Careful
from jetbridge.kernels.services import Services
from jetbridge.kernels.serving import BatchServiceKernel, FilterServiceKernel, FlatMapServiceKernel, MapServiceKernel
from jetbridge.plan.services import BatchServiceNode, FilterServiceNode, FlatMapServiceNode, MapServiceNode
from jetbridge.services import ServiceFactory, non_shared_service, shared_service
from jetbridge.times import TimedItems

chunks = st.lists(st.integers(-50, 50), min_size=1, max_size=60)
TEN = shared_service(lambda context: 10)


def kernel(kind, node, fn, factory=TEN, services=None, key_fn=None, **fields):
    stage = node(0, "s", True, (), factory=factory, fn=fn, key_fn=key_fn, **fields)
    return kind(stage, services or Services())


def mapping(fn, factory=TEN, services=None, key_fn=None):
    return kernel(MapServiceKernel, MapServiceNode, fn, factory, services, key_fn)


def batching(fn, max_batch=4, factory=TEN):
    return kernel(BatchServiceKernel, BatchServiceNode, fn, factory, max_batch=max_batch)


class Recorder:
    """A factory that notes what is made and destroyed."""

    def __init__(self, shared=True):
        self.made, self.destroyed = [], []
        self.factory = ServiceFactory(self.create, self.destroyed.append, shared)

    def create(self, context):
        self.made.append([len(self.made)])
        return self.made[-1]


@given(chunk=chunks)
def test_map(chunk):
    before = list(chunk)
    times = [n * 1000 for n in chunk]
    double = mapping(lambda ten, n: ten + n)
    assert double(chunk) == [10 + n for n in before]
    timed = double.timed(TimedItems(chunk, times))
    assert (list(timed), timed.times) == ([10 + n for n in before], times)
    assert chunk == before, "other branches read the same chunk"


@given(chunk=chunks)
def test_filter(chunk):
    expected = [n for n in chunk if n % 10 < 5]
    small = kernel(FilterServiceKernel, FilterServiceNode, lambda ten, n: n % ten < 5)
    assert small(chunk) == expected
    timed = small.timed(TimedItems(chunk, chunk))
    assert (list(timed), timed.times) == (expected, expected)


@given(chunk=st.lists(st.integers(0, 20), min_size=1, max_size=40), lazily=st.booleans())
def test_flat_map(chunk, lazily):
    expected = [(10, m) for n in chunk for m in range(n)]
    times = [(n, m) for n in chunk for m in range(n)]

    def pairs(ten, n):
        found = ((ten, m) for m in range(n))
        return found if lazily else list(found)

    spread = kernel(FlatMapServiceKernel, FlatMapServiceNode, pairs)
    assert [item for piece in spread.explode(chunk) for item in piece] == expected
    pieces = list(spread.explode_timed(TimedItems(chunk, chunk)))
    assert [item for piece in pieces for item in piece] == expected
    assert [time for piece in pieces for time in piece.times] == [n for n, _ in times]


def test_a_flat_maps_service_is_in_use_until_the_last_result_is_drawn():
    recorder = Recorder(shared=False)
    services = Services()
    many = kernel(FlatMapServiceKernel, FlatMapServiceNode, lambda _, n: range(n), recorder.factory, services)
    first, second = many.explode([10_000]), many.explode([10_000])
    next(first), next(second)
    assert len(recorder.made) == 2, "each is in use"
    first.close(), second.close()
    assert [len(piece) for piece in many.explode([3])] == [3]
    assert len(recorder.made) == 2, "they were given back"
    services.close()
    assert len(recorder.destroyed) == 2


@given(chunk=chunks, size=st.integers(1, 70))
def test_batches_are_of_bounded_size_and_in_order(chunk, size):
    seen = []

    def results(ten, items):
        seen.append(len(items))
        tens = [ten * item for item in items]
        items.clear()  # its own list
        return tens

    tens = batching(results, size)
    before = list(chunk)
    assert tens(chunk) == [10 * n for n in before]
    assert chunk == before
    assert seen == [size] * (len(chunk) // size) + [len(chunk) % size] * (len(chunk) % size > 0)
    timed = tens.timed(TimedItems(chunk, before))
    assert (list(timed), timed.times) == ([10 * n for n in before], before)


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (lambda _, items: items[:-1], "must return one result for each item; got 2 for 3"),
        (lambda _, items: [*items, 0], "must return one result for each item; got 4 for 3"),
        (lambda _, items: None, "must return a list of results; got None"),
        (lambda _, items: 1 / 0, "division by zero"),
        (lambda items: items, r"takes 1 positional argument but 2 were given"),
    ],
)
def test_a_batch_that_fails_says_where_it_begins(fn, message):
    with pytest.raises(ItemError, match="map_using_service_batched 's' failed on a batch of 3 items") as caught:
        batching(fn)([7, 8, 9])
    assert caught.value.item == "7"
    caught.match("begins with 7")
    caught.match(message)


def test_results_of_a_batch_may_be_any_iterable():
    assert batching(lambda ten, items: (ten * n for n in items))([1, 2]) == [10, 20]


def test_a_careful_batch_is_one_item():
    careful = Careful(batching(lambda ten, items: [ten / n for n in items]))
    assert careful([5, 0, 2]) == [2, 5]
    [failed] = careful.failed
    assert (failed.stage, failed.item, failed.error) == ("s", 0, "ZeroDivisionError: division by zero")


def test_the_key_comes_between_the_service_and_the_item():
    assert mapping(lambda ten, key, n: (ten, key, n), key_fn=lambda n: n % 2)([3, 4]) == [(10, 1, 3), (10, 0, 4)]


@pytest.mark.parametrize("kind", ["map", "filter", "flat_map"])
def test_an_error_names_the_item(kind):
    kinds = {
        "map": (MapServiceKernel, MapServiceNode),
        "filter": (FilterServiceKernel, FilterServiceNode),
        "flat_map": (FlatMapServiceKernel, FlatMapServiceNode),
    }
    failing = kernel(*kinds[kind], lambda ten, n: [ten // n])
    with pytest.raises(ItemError, match=f"{kind}_using_service 's' failed on item 0: ZeroDivisionError"):
        list(failing.explode([2, 0, 1])) if kind == "flat_map" else failing([2, 0, 1])


def test_a_function_of_the_wrong_arity_is_told_how_it_is_called():
    with pytest.raises(
        ItemError, match=r"failed on item 5: TypeError: .*2 were given \(it is called as fn\(service, i"
    ):
        mapping(lambda item: item)([5])
    with pytest.raises(ItemError, match=r"\(it is called as fn\(service, key, item\)\)"):
        mapping(lambda service, item: item, key_fn=abs)([5])


def test_a_type_error_within_the_function_is_left_alone():
    def fails(service, item):
        return len(item, item)

    with pytest.raises(ItemError) as caught:
        mapping(fails)([5])
    assert "it is called" not in str(caught.value)


def test_one_service_for_all_kernels_of_a_stage_and_another_for_each_stage():
    recorder, services = Recorder(), Services()
    for name in ("a", "a", "b"):
        stage = MapServiceNode(0, name, True, (), factory=recorder.factory, fn=lambda service, n: service)
        assert MapServiceKernel(stage, services)([1])[0] in recorder.made
    assert len(recorder.made) == 2
    services.close()
    services.close()
    assert recorder.destroyed == [[1], [0]], "once each, the newest first"


def test_nothing_is_made_without_an_item():
    recorder, services = Recorder(), Services()
    mapping(lambda service, n: n, recorder.factory, services)
    services.close()
    assert recorder.made == recorder.destroyed == []


@pytest.mark.parametrize("shared", [True, False])
def test_threads_share_a_service_or_have_one_each(shared):
    recorder, services = Recorder(shared), Services()
    together = threading.Barrier(4)

    def use(service, item):
        together.wait(30)
        return id(service)

    used = mapping(use, recorder.factory, services)
    seen = []
    for _ in range(2):
        threads = [threading.Thread(target=lambda: seen.extend(used([1]))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert len(seen) == 8
    assert len(set(seen)) == len(recorder.made) == (1 if shared else 4), "those that are free are used again"
    services.close()
    assert len(recorder.destroyed) == len(recorder.made)


def test_a_create_that_fails_is_no_matter_of_an_item():
    def create(context):
        raise sqlite3.OperationalError("no such host")

    careful = Careful(mapping(lambda service, n: n, shared_service(create)))
    message = "^service of map_using_service 's' could not be created: OperationalError: no such host$"
    with pytest.raises(ItemError, match=message) as caught:
        careful([1])
    assert caught.value.item is None
    assert caught.value.stage == "s"
    assert "in create" in caught.value.user_traceback
    assert not careful.failed


def test_none_is_no_service():
    with pytest.raises(ItemError, match="its create returned None: return the service"):
        mapping(lambda service, n: n, shared_service(lambda context: None))([1])


def test_a_destroy_that_fails_is_logged_and_the_others_follow(caplog):
    services = Services()
    recorder = Recorder()

    def destroy(service):
        raise SystemExit("no")

    mapping(lambda service, n: n, recorder.factory, services)([1])
    other = MapServiceNode(0, "other", True, (), factory=shared_service(lambda context: 1, destroy), fn=max)
    MapServiceKernel(other, services)([1])
    services.close()
    assert "a service of map_using_service 'other' could not be destroyed" in caplog.text
    assert recorder.destroyed == recorder.made


def test_the_end_waits_for_who_uses_a_service():
    recorder, services = Recorder(), Services()
    entered, leave = threading.Event(), threading.Event()

    def use(service, item):
        entered.set()
        assert leave.wait(30)
        assert not recorder.destroyed
        return item

    used = mapping(use, recorder.factory, services)
    results = []
    user = threading.Thread(target=lambda: results.extend(used([1])))
    user.start()
    assert entered.wait(30)
    closing = threading.Thread(target=services.close, args=[30])
    closing.start()
    leave.set()
    user.join(30), closing.join(30)
    assert results == [1]
    assert recorder.destroyed == recorder.made
    with pytest.raises(ItemError, match="the job has ended in this process"):
        used([1])


def test_one_that_stays_in_use_is_not_destroyed(caplog):
    recorder, services = Recorder(shared=False), Services()
    many = kernel(FlatMapServiceKernel, FlatMapServiceNode, lambda _, n: range(n), recorder.factory, services)
    drawn = many.explode([10_000])
    next(drawn)
    services.close(2)
    assert len(recorder.made) == 1
    assert not recorder.destroyed
    assert "a service of flat_map_using_service 's' is still in use and is not destroyed" in caplog.text
    drawn.close()


def test_a_destroy_that_never_comes_back_does_not_keep_the_process(caplog):
    services, never = Services(), threading.Event()
    mapping(lambda service, n: n, shared_service(lambda context: 1, lambda service: never.wait(30)), services)([1])
    services.close(0.05)
    assert "services are still being destroyed after 0.05 s" in caplog.text
    never.set()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: shared_service(3), r"must be given a callable as create; got 3 \(int\)"),
        (lambda: non_shared_service(print, 3), r"must be given a callable as destroy; got 3 \(int\)"),
        (lambda: ServiceFactory(print, shared=1), r"must be given True or False as shared; got 1 \(int\)"),
    ],
)
def test_what_is_no_factory_is_refused(make, message):
    with pytest.raises(PipelineError, match=message):
        make()
