"""The kernel of asynchronous stages: many calls for the items of a chunk go on at the same time."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
from typing import TYPE_CHECKING, Any

from jetbridge.kernels.failure import item_error, short_repr
from jetbridge.kernels.loop import caught
from jetbridge.kernels.serving import with_key
from jetbridge.times import TimedItems

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from jetbridge.errors import ItemError
    from jetbridge.kernels.services import Services
    from jetbridge.plan.services import AsyncServiceNode


class AsyncServiceKernel:
    """Awaits what a function of a service and each item gives, so many at a time.

    Args:
        node: The stage.
        services: The services of the job in this process; their event loop runs the calls.
    """

    def __init__(self, node: AsyncServiceNode, services: Services) -> None:
        self.node = node
        self.kind = node.kind
        self.name = node.name
        self.services = services.of(node, node.factory, on_loop=True)
        self.fn = with_key(node)
        self._loop = services.loop

    def __call__(self, chunk: list[Any]) -> list[Any]:
        """The results: in the order of the items, or in that in which they came."""
        results, failed = self._run(chunk, careful=False)
        if failed:
            raise failed[0][1] from failed[0][1].__cause__
        return results

    timed = __call__

    def carefully(self, chunk: list[Any]) -> tuple[list[Any], list[tuple[Any, ItemError]]]:
        """The results, and the items for which there are none with their errors."""
        return self._run(chunk, careful=True)

    def _run(self, chunk: list[Any], *, careful: bool) -> tuple[list[Any], list[tuple[Any, ItemError]]]:
        if not chunk:
            return chunk, []
        with self.services.lease() as service:
            calls = _Calls(self, service, chunk, careful=careful)
            self._loop.run(calls.made())
        failed = []
        for index, error in calls.failed:
            failure = item_error(self.kind, self.name, chunk[index], error)
            failure.__cause__ = error
            failed.append((chunk[index], failure))
        come = sorted(calls.come) if self.node.preserve_order else calls.come
        results = [calls.results[index] for index in come]
        if isinstance(chunk, TimedItems):
            return TimedItems(results, [chunk.times[index] for index in come]), failed
        return results, failed


class _Calls:
    """The calls for the items of one chunk; all of it runs on the event loop."""

    def __init__(self, kernel: AsyncServiceKernel, service: Any, chunk: list[Any], *, careful: bool) -> None:
        node = kernel.node
        self._fn = kernel.fn
        self._seconds = None if node.timeout is None else node.timeout / 1000
        self._service = service
        self._careful = careful
        self._limit = min(node.max_concurrent, len(chunk))
        self._items = iter(enumerate(chunk))
        self._stopped = False
        self._tasks: list[asyncio.Task[None]] = []
        self.results: dict[int, Any] = {}
        self.come: list[int] = []
        self.failed: list[tuple[int, BaseException]] = []

    async def made(self) -> None:
        """Make all of them; after a failure those that go on are cancelled, unless failures are put aside."""
        self._tasks = [asyncio.ensure_future(self._draw()) for _ in range(self._limit)]
        try:
            await asyncio.wait(self._tasks)
        finally:
            self._stop()

    def _stop(self) -> None:
        self._stopped = True
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    async def _draw(self) -> None:
        """One call after another, as long as there are items."""
        for index, item in self._items:
            try:
                self.results[index] = await self._one(item)
            except BaseException as error:
                if self._stopped:
                    return
                self.failed.append((index, error))
                if not self._careful:
                    self._stop()
                    return
            else:
                self.come.append(index)
                if self._stopped:
                    return

    async def _one(self, item: Any) -> Any:
        given = self._fn(self._service, item)
        if isinstance(given, concurrent.futures.Future):
            given = asyncio.wrap_future(given)
        elif not inspect.isawaitable(given):
            raise TypeError(
                f"its function must be a coroutine function, or return a concurrent.futures.Future; "
                f"got {short_repr(given)} ({type(given).__name__})"
            )
        return await given if self._seconds is None else await self._in_time(given, self._seconds)

    async def _in_time(self, given: Awaitable[Any], seconds: float) -> Any:
        task = asyncio.ensure_future(caught(given))
        try:
            done, _ = await asyncio.wait({task}, timeout=seconds)
        finally:
            task.cancel()
        if not done:
            raise TimeoutError(f"no result within {seconds * 1000:g} ms")
        succeeded, result = task.result()
        if not succeeded:
            raise result
        return result
