"""The services of a job in one process: made when their stage's first item is there, unmade at the job's end.

They belong to the process, not to the kernels: a host makes kernels as it likes.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jetbridge.connectors.base import ConnectorContext
from jetbridge.errors import ItemError
from jetbridge.kernels.failure import FAILURES, describe, user_traceback
from jetbridge.kernels.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jetbridge.plan.base import Node
    from jetbridge.services import ServiceFactory

CLOSE_SECONDS = 2.5
"""How long the end of a process waits for services that are in use, and that are being destroyed."""
_LOGGER = logging.getLogger("jetbridge")


def _alone(stage: str) -> ConnectorContext:
    """The context of a stage outside of any job."""
    return ConnectorContext(job_id="", job_name="", run="", stage=stage, home=".")


class Services:
    """All services of a job in this process.

    Example:
        >>> from jetbridge.kernels.services import Services
        >>> from jetbridge.plan.services import MapServiceNode
        >>> from jetbridge.services import shared_service
        >>> factory = shared_service(lambda context: [context.stage], lambda service: print("bye", *service))
        >>> services = Services()
        >>> with services.of(MapServiceNode(0, "x", True, (), factory=factory, fn=max), factory).lease() as service:
        ...     service
        ['x']
        >>> services.close()
        bye x

    Args:
        context: Gives the context of a stage.

    Attributes:
        context: The same.
        loop: The event loop of the asynchronous stages.
    """

    def __init__(self, context: Callable[[str], ConnectorContext] = _alone) -> None:
        self.context = context
        self.loop = Loop()
        self._stages: dict[str, StageServices] = {}
        self._lock = threading.Lock()

    def of(self, node: Node, factory: ServiceFactory, *, on_loop: bool = False) -> StageServices:
        """The services of a stage, the same object for each of its kernels.

        Args:
            node: The stage.
            factory: Makes them.
            on_loop: Whether that is done on the event loop.
        """
        with self._lock:
            if node.name not in self._stages:
                self._stages[node.name] = StageServices(self, node, factory, self.loop if on_loop else None)
            return self._stages[node.name]

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Destroy all of them, the newest stage's first; a second call finds none.

        Args:
            seconds: How long to wait for that.
        """
        with self._lock:
            stages = [stage for stage in reversed(self._stages.values()) if stage.made]
        if stages:
            # In a thread: what never comes back must not keep the job from its end.
            # Half the time for those in use, which leaves some for their ends.
            closing = threading.Thread(target=_closed, args=(stages, time.monotonic() + seconds / 2), daemon=True)
            closing.start()
            closing.join(seconds)
            if closing.is_alive():
                _LOGGER.warning("services are still being destroyed after %g s; the process ends", seconds)
        self.loop.close()


def _closed(stages: list[StageServices], deadline: float) -> None:
    for stage in stages:
        stage.close(deadline)


class StageServices:
    """The services of one stage in this process: one that all threads share, or one for each thread at work.

    Attributes:
        label: The stage, for messages.
        made: The services that were made and not destroyed.
    """

    def __init__(self, services: Services, node: Node, factory: ServiceFactory, loop: Loop | None) -> None:
        self.label = f"{node.kind} '{node.name}'"
        self._stage = node.name
        self._services = services
        self._factory = factory
        self._loop = loop
        self.made: list[Any] = []
        self._free: list[Any] = []
        self._users = 0
        self._closed = False
        self._lock = threading.Lock()
        self._given_back = threading.Condition(self._lock)

    @contextmanager
    def lease(self) -> Iterator[Any]:
        """A service for a block; it is made when there is none.

        Raises:
            ItemError: When it cannot be made; it names no item.
        """
        service = self._take()
        try:
            yield service
        finally:
            with self._lock:
                self._users -= 1
                if not self._factory.shared:
                    self._free.append(service)
                if self._closed:
                    self._given_back.notify_all()

    def _take(self) -> Any:
        with self._lock:
            if self._closed:
                raise self._failed("the job has ended in this process")
            if self.made and self._factory.shared:
                service = self.made[0]
            elif self._free:
                service = self._free.pop()
            else:
                # Within the lock: of a shared service all threads wait for the one that makes it.
                service = self._create()
                self.made.append(service)
            self._users += 1
            return service

    def _create(self) -> Any:
        context = self._services.context(self._stage)
        try:
            service = self._call(self._factory.create, context)
        except FAILURES as error:
            raise self._failed(describe(error), user_traceback(error), type(error).__name__) from error
        if service is None:
            raise self._failed("its create returned None: return the service", cause_type="TypeError")
        return service

    def _failed(self, why: str, trace: str | None = None, cause_type: str | None = None) -> ItemError:
        message = f"service of {self.label} could not be created: {why}"
        return ItemError(message, stage=self._stage, user_traceback=trace, cause_type=cause_type)

    def _call(self, fn: Callable[[Any], Any], argument: Any) -> Any:
        return fn(argument) if self._loop is None else self._loop.call(fn, argument)

    def close(self, deadline: float) -> None:
        """Destroy what was made, once nobody uses it."""
        with self._lock:
            self._closed = True
            idle = self._given_back.wait_for(lambda: not self._users, max(0.0, deadline - time.monotonic()))
            made, self.made, self._free = self.made, [], []
        destroy = self._factory.destroy
        if destroy is None or not made:
            return
        if not idle:
            _LOGGER.warning("a service of %s is still in use and is not destroyed", self.label)
            return
        for service in reversed(made):
            try:
                self._call(destroy, service)
            except BaseException:
                _LOGGER.warning("a service of %s could not be destroyed", self.label, exc_info=True)
