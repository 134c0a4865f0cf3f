"""An event loop in a thread of its own, for coroutines of the user's."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import inspect
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

_ENDING = 1.0  # seconds that tasks have to end when the loop does


class Loop:
    """An event loop that begins with the first call.

    Example:
        >>> import asyncio
        >>> loop = Loop()
        >>> loop.run(asyncio.sleep(0, "done"))
        'done'
        >>> loop.close()
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine there and wait for what it returns or raises."""
        succeeded, result = asyncio.run_coroutine_threadsafe(caught(coroutine), self._running()).result()
        if not succeeded:
            raise result
        return result

    def call(self, fn: Callable[[Any], Any], argument: Any) -> Any:
        """Call a function there, and await what it gives if that can be awaited."""
        return self.run(_called(fn, argument))

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._serve, name="jetbridge-loop", daemon=True)
                self._thread.start()
            return self._loop

    def _serve(self) -> None:
        assert self._loop is not None
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def close(self) -> None:
        """End the loop, and what still runs on it."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return
        with contextlib.suppress(TimeoutError, concurrent.futures.TimeoutError):  # something blocks the loop
            asyncio.run_coroutine_threadsafe(_cancelled_others(), loop).result(2 * _ENDING)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_ENDING)
        if not thread.is_alive():
            loop.close()


async def caught(awaitable: Awaitable[Any]) -> tuple[bool, Any]:
    """Whether something that is awaited succeeds, and its result or what it raises.

    A SystemExit that left a task would end its loop.
    """
    try:
        return True, await awaitable
    except BaseException as error:
        return False, error


async def _called(fn: Callable[[Any], Any], argument: Any) -> Any:
    result = fn(argument)
    return await result if inspect.isawaitable(result) else result


async def _cancelled_others() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=_ENDING)
