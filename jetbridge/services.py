"""Services: what a stage needs one of in each worker, such as a model, a client of a database or a connection.

A service is made in the worker, at the stage's first item there, and never
travels; what travels is the factory with its functions. As in Jet, a stage gets
its services from a `ServiceFactory`: see `map_using_service` of a stage.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from jetbridge.arguments import flag, function

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jetbridge.connectors.base import ConnectorContext

__all__ = ["Lookup", "ServiceFactory", "non_shared_service", "shared_service"]


@dataclass(frozen=True)
class ServiceFactory:
    """How a stage's services are made and unmade.

    ``create`` is called in each worker process when the stage's first item is
    there, never in the client. ``destroy`` is called in the same process when the
    job ends there: also when it failed, is suspended or cancelled, or goes on with
    other workers. It has about two seconds then. A process that is killed, runs
    out of memory or loses its client at once has no time for it, so what must not
    be lost belongs into a sink. What ``destroy`` raises is logged.

    A factory that two stages use makes each of them services of its own. After a
    restart services are new: what they remember is not in a snapshot.

    Example:
        >>> from jetbridge import Pipeline, ServiceFactory
        >>> class Dictionary:
        ...     def __init__(self, context):
        ...         context.logger.info("loading for %s", context.stage)
        ...         self.words = {"one": "ein"}
        ...     def translated(self, word):
        ...         return self.words.get(word, word)
        >>> words = Pipeline.create().read_from(Pipeline.from_list("words", ["one", "two"]))
        >>> words.map_using_service(ServiceFactory(Dictionary), Dictionary.translated)
        <BatchStage 'map_using_service'>

    Attributes:
        create: Given a `jetbridge.connectors.ConnectorContext` (the job's name,
            id and arguments, the stage, the data folder, a logger), returns the service, which
            is not None. For `map_using_service_async` it may be a coroutine function.
        destroy: Given the service, unmakes it; None when there is nothing to do.
            For `map_using_service_async` it may be a coroutine function.
        shared: Whether all threads of a worker process share one service, which must
            allow that. Else no two threads ever use one at the same time: there are
            as many as are needed. On the Direct runner a process has one such thread.

    Raises:
        PipelineError: When something is no function, or ``shared`` no bool.
    """

    create: Callable[[ConnectorContext], Any]
    destroy: Callable[[Any], Any] | None = None
    shared: bool = True

    def __post_init__(self) -> None:
        function("ServiceFactory", "create", self.create, "context")
        if self.destroy is not None:
            function("ServiceFactory", "destroy", self.destroy, "service")
        flag("ServiceFactory", "shared", self.shared)


def shared_service(
    create: Callable[[ConnectorContext], Any], destroy: Callable[[Any], Any] | None = None
) -> ServiceFactory:
    """A factory of services that all threads of a worker process share.

    Example:
        >>> from jetbridge import services
        >>> services.shared_service(lambda context: {"one": "eins"}).shared
        True

    Args:
        create: Makes a service; see `ServiceFactory`.
        destroy: Unmakes it.

    Raises:
        PipelineError: When something is no function.
    """
    return ServiceFactory(create, destroy, shared=True)


def non_shared_service(
    create: Callable[[ConnectorContext], Any], destroy: Callable[[Any], Any] | None = None
) -> ServiceFactory:
    """A factory of services that no two threads use at the same time, such as connections of most databases.

    Example:
        >>> import sqlite3
        >>> from jetbridge import services
        >>> def connected(context):
        ...     return sqlite3.connect(":memory:", check_same_thread=False)
        >>> services.non_shared_service(connected, sqlite3.Connection.close).shared
        False

    Args:
        create: Makes a service; see `ServiceFactory`. Threads take turns with it, so it
            must not insist on one.
        destroy: Unmakes it, again in a thread of its own.

    Raises:
        PipelineError: When something is no function.
    """
    return ServiceFactory(create, destroy, shared=False)


class Lookup(abc.ABC):
    """Where `map_using_map` looks values up: a map of the embedded store, or of another system.

    It is pickled with the pipeline, and used by all threads of a worker process
    between ``open`` and ``close``.

    Example:
        >>> from jetbridge import Pipeline
        >>> class Squares(Lookup):
        ...     kind = "squares"
        ...     def get_many(self, keys):
        ...         return [key * key for key in keys]
        >>> numbers = Pipeline.create().read_from(Pipeline.from_list("numbers", [1, 2]))
        >>> numbers.map_using_map(Squares("squares"), lambda n: n, lambda n, square: (n, square))
        <BatchStage 'map_using_map'>

    Args:
        name: The map's name, for messages.

    Attributes:
        kind: What sort of map it is.
    """

    kind: ClassVar[str] = "map"

    def __init__(self, name: str) -> None:
        self.name = name

    def open(self, context: ConnectorContext) -> None:
        """Called once in each worker process before the first look-up.

        Args:
            context: What is known of the job and the stage.
        """

    @abc.abstractmethod
    def get_many(self, keys: Sequence[Any]) -> Sequence[Any]:
        """Look keys up, no two of which are equal.

        Args:
            keys: The keys.

        Returns:
            The value of each key in the same order, None where there is none.
        """

    def close(self) -> None:
        """Called in each such process at its end, unless it is killed."""
