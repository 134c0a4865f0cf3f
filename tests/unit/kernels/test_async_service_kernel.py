from __future__ import annotations

import asyncio
import concurrent.futures
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetbridge.errors import ItemError
from jetbridge.kernels.aside import Careful
from jetbridge.kernels.concurrent import AsyncServiceKernel
from jetbridge.kernels.services import Services
from jetbridge.plan.services import AsyncServiceNode
from jetbridge.services import non_shared_service, shared_service
from jetbridge.times import TimedItems

TEN = shared_service(lambda context: 10)


@pytest.fixture(scope="module")
def services():
    """The services of a process, whose event loop ends with the tests."""
    made = Services()
    yield made
    made.close()


_numbers = iter(range(1_000_000))


@pytest.fixture(scope="module")
def kernel(services):
    def make(fn, factory=TEN, within=None, **fields):
        stage = AsyncServiceNode(0, f"s{next(_numbers)}", True, (), factory=factory, fn=fn, **fields)
        return AsyncServiceKernel(stage, within or services)

    return make


async def times_ten(ten, n):
    await asyncio.sleep(n % 3 / 10_000)
    return ten * n


def test_no_items(kernel):
    assert kernel(times_ten, max_concurrent=2)([]) == []


@settings(max_examples=25)
@given(
    chunk=st.lists(st.integers(0, 50), min_size=1, max_size=40),
    most=st.integers(1, 20),
    ordered=st.booleans(),
    timeout=st.sampled_from([None, 60_000]),
)
def test_all_results_in_order_or_not(kernel, chunk, most, ordered, timeout):
    tens = kernel(times_ten, max_concurrent=most, preserve_order=ordered, timeout=timeout)
    results = tens(chunk)
    expected = [10 * n for n in chunk]
    assert (results if ordered else sorted(results)) == (expected if ordered else sorted(expected))
    timed = tens.timed(TimedItems(chunk, list(chunk)))
    assert [10 * time for time in timed.times] == timed, "each result has the time of its item"
    assert type(results) is list
    assert type(timed) is TimedItems


def test_no_more_than_so_many_at_a_time(kernel):
    now, most = 0, 0

    async def counted(ten, n):
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1
        return n

    assert kernel(counted, max_concurrent=7)(list(range(50))) == list(range(50))
    assert most == 7


def test_unordered_results_come_as_they_are_ready(kernel):
    ready = {}

    async def backwards(ten, n):
        ready[n] = asyncio.Event()
        if n < 2:
            while n + 1 not in ready:
                await asyncio.sleep(0)
            await ready[n + 1].wait()
        ready[n].set()
        return n

    assert kernel(backwards, max_concurrent=3, preserve_order=False)([0, 1, 2]) == [2, 1, 0]


def test_futures_of_an_executor(kernel):
    executor = shared_service(lambda context: concurrent.futures.ThreadPoolExecutor(2), lambda pool: pool.shutdown())
    own = Services()
    try:
        assert kernel(lambda pool, n: pool.submit(pow, n, 2), executor, own, max_concurrent=4)([1, 2, 3]) == [1, 4, 9]
        with pytest.raises(ItemError, match="failed on item 0: ZeroDivisionError"):
            kernel(lambda pool, n: pool.submit(divmod, 1, n), executor, own, max_concurrent=4)([1, 0])
    finally:
        own.close()


@pytest.mark.parametrize("timeout", [None, 60_000])
@pytest.mark.parametrize("error", [ValueError, SystemExit, asyncio.CancelledError, KeyboardInterrupt, TimeoutError])
def test_an_error_names_the_item_and_cancels_the_other_calls(kernel, error, timeout):
    cancelled = []

    async def fails(ten, n):
        if n == 3:
            raise error("no")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(n)
            raise

    failing = kernel(fails, max_concurrent=4, timeout=timeout)
    with pytest.raises(ItemError, match=f"map_using_service_async '{failing.name}' failed on item 3: .*no") as caught:
        failing([1, 2, 3, 4, 5])
    assert caught.value.item == "3"
    assert "in fails" in caught.value.user_traceback
    assert set(cancelled) <= {1, 2, 4}
    assert kernel(times_ten, max_concurrent=2)([1]) == [10], "the loop goes on"


def test_a_call_that_takes_too_long(kernel):
    async def slow(ten, n):
        await asyncio.sleep(60 if n == 2 else 0)
        return n

    late = kernel(slow, max_concurrent=4, timeout=20)
    with pytest.raises(ItemError, match="failed on item 2: TimeoutError: no result within 20 ms"):
        late([1, 2, 3])
    careful = Careful(late)
    assert careful([1, 2, 3]) == [1, 3]
    assert [failed.item for failed in careful.failed] == [2]


def test_carefully_many_at_a_time(kernel):
    together = 0

    async def meet(ten, n):
        nonlocal together
        together += 1
        while together < 4:
            await asyncio.sleep(0)
        return ten // n

    careful = Careful(kernel(meet, max_concurrent=4))
    timed = careful.timed(TimedItems([5, 0, 2, 0], [1, 2, 3, 4]))
    assert (list(timed), timed.times) == ([2, 5], [1, 3])
    assert [(failed.item, failed.error) for failed in careful.failed] == [
        (0, "ZeroDivisionError: integer division or modulo by zero")
    ] * 2


def test_what_is_no_coroutine_function_is_told(kernel):
    with pytest.raises(ItemError, match=r"must be a coroutine function, or return a concurrent.futures.Future; got 11"):
        kernel(lambda ten, n: ten + n, max_concurrent=2)([1])


@pytest.mark.parametrize("factory_of", [shared_service, non_shared_service])
def test_services_are_made_and_destroyed_on_the_loop(kernel, factory_of):
    own, seen = Services(), []

    async def create(context):
        seen.append(("made", asyncio.get_running_loop(), threading.current_thread()))
        return seen

    async def destroy(service):
        await asyncio.sleep(0)
        service.append(("destroyed", asyncio.get_running_loop(), threading.current_thread()))

    async def use(service, n):
        service.append(("used", asyncio.get_running_loop(), threading.current_thread()))
        return n

    used = kernel(use, factory_of(create, destroy), own, max_concurrent=2)
    assert used([1]) == [1]
    assert used([2]) == [2]
    own.close()
    assert [what for what, *_ in seen] == ["made", "used", "used", "destroyed"]
    assert len({each[1:] for each in seen}) == 1, "one loop in one thread"
    assert not seen[0][2].is_alive()


def test_a_create_that_fails_on_the_loop(kernel):
    async def create(context):
        raise SystemExit("no")

    failing = kernel(times_ten, shared_service(create), max_concurrent=2)
    with pytest.raises(ItemError, match="could not be created: SystemExit: no"):
        failing([1])
    assert kernel(times_ten, max_concurrent=2)([1]) == [10], "the loop goes on"
