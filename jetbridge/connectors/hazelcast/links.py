"""Connections to clusters: one client for each cluster in a process, opened when it is first needed.

A cluster that goes away is waited for, and what was asked is asked again; the
client library would wait for ever, or give up a write of which it does not know
whether it was done. Before this process is forked all clients are shut down,
since their threads do not survive it; the next call opens a new one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

from jetbridge.connectors.hazelcast import values
from jetbridge.errors import ClusterError, ConnectionError, JetbridgeError, SerializationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetbridge.connectors.hazelcast.cluster import HazelcastCluster

Result = TypeVar("Result")

_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_LOST = {
    *("TargetDisconnectedError", "HazelcastClientNotActiveError", "HazelcastInstanceNotActiveError"),
    *("ClientOfflineError", "OperationTimeoutError", "IndeterminateOperationStateError"),
    *("MemberLeftError", "TargetNotMemberError"),
}
_REFUSED = ("AuthenticationError", "ClientNotAllowedInClusterError", "InvalidConfigurationError")
_links: dict[str, Link] = {}
_guard = threading.Lock()


class InterruptedCall(Exception):
    """The cluster went away during a call, and nobody knows whether it was carried out."""


class Link:
    """A connection to a cluster; `enter` gives the one that this process has.

    Attributes:
        cluster: The cluster.
    """

    def __init__(self, cluster: HazelcastCluster) -> None:
        self.cluster = cluster
        self.users = 0
        self._lock = threading.Lock()
        self._client: Any = None
        self._was_there = False

    def call(self, work: Callable[[Any], Result], *, repeat: bool = True, within: float | None = None) -> Result:
        """Do something with a client that is connected.

        Args:
            work: Is given the client, and waits for what it asks of it.
            repeat: Whether it may be done again when the cluster has gone away meanwhile.
            within: How many seconds a cluster that is away is waited for; by default as its config says.

        Raises:
            InterruptedCall: When it has gone away, and the work must not be repeated.
            ConnectionError: When the cluster is not there in time, or does not take this client.
            SerializationError: When something cannot be written or read.
            ClusterError: For any other refusal of the cluster.
        """
        deadline = None if within is None else time.monotonic() + within
        pause = _PAUSE
        while True:
            try:
                return work(self.client(deadline))
            except JetbridgeError:
                raise
            except Exception as error:
                if not _is_loss(error):
                    raise self._named(error) from error
                if not repeat:
                    raise InterruptedCall(f"{type(error).__name__}: {error}") from error
                now = time.monotonic()
                deadline = deadline or now + self.cluster.again_seconds
                if now > deadline:
                    raise self._gone(error) from error
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def client(self, deadline: float | None = None) -> Any:
        """A ``HazelcastClient`` that is connected, or was a moment ago.

        Args:
            deadline: Until when the cluster is waited for; by default as its config says.

        Raises:
            ConnectionError: When the cluster is not there in time, or does not take this client.
        """
        with self._lock:
            if self._client is None or not self._client.lifecycle_service.is_running():
                self._client = None
                self._client = self._connected(deadline)
                self._was_there = True
            return self._client

    def drop(self) -> None:
        """Shut the client down; the next call opens a new one."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.shutdown()

    def forget(self) -> None:
        """In a process that was just forked: what threads of the old one held is nobody's here."""
        self._lock = threading.Lock()
        self._client = None

    def leave(self) -> None:
        """Say that one user less needs it; the last one shuts it down."""
        with _guard:
            self.users -= 1
            if self.users > 0:
                return
            _links.pop(self.cluster.token, None)
        self.drop()

    def _connected(self, deadline: float | None) -> Any:
        from hazelcast import HazelcastClient

        seconds = self.cluster.again_seconds if self._was_there else self.cluster.first_seconds
        deadline = deadline or time.monotonic() + seconds
        pause = _PAUSE
        while True:
            with _heard() as heard:
                try:
                    client = HazelcastClient(self.cluster.client_config())
                except Exception as error:
                    heard.append(error)
                else:
                    values.dressed(client._serialization_service)
                    return client
            self._refuse(heard)
            if time.monotonic() > deadline:
                raise self._gone(heard[0]) if self._was_there else self._missing(heard, seconds)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _refuse(self, heard: list[BaseException]) -> None:
        """Give up at once where waiting does not help."""
        for error in heard:
            if type(error).__name__ in _REFUSED:
                raise ConnectionError(
                    f"{self.cluster} does not take this client: {_text(error)} Check cluster_name (it is "
                    f"'{self.cluster.name}' here), creds_username and creds_password of the hazelcast config"
                ) from error
            if isinstance(error, (TypeError, ValueError)):  # its config
                raise ConnectionError(f"no client can be made for {self.cluster}: {_text(error)}") from error

    def _missing(self, heard: list[BaseException], seconds: float) -> ConnectionError:
        error = ConnectionError(
            f"no {self.cluster} answered within {seconds:g} s ({_text(heard[0])}): check that it runs and that "
            "cluster_members of the hazelcast config are its members; cluster_connect_timeout says how long to try"
        )
        error.__cause__ = heard[0]
        return error

    def _gone(self, cause: BaseException) -> ConnectionError:
        error = ConnectionError(
            f"{self.cluster} went away and did not come back within {self.cluster.again_seconds:g} s "
            f"({_text(cause)}); cluster_connect_timeout of the hazelcast config says how long it is waited for"
        )
        error.__cause__ = cause
        return error

    def _named(self, error: Exception) -> JetbridgeError:
        if type(error).__name__ in ("HazelcastSerializationError", "UnicodeEncodeError"):
            return SerializationError(_text(error))
        return ClusterError(f"{self.cluster} refused: {_text(error)}")


def enter(cluster: HazelcastCluster) -> Link:
    """This process's link to a cluster, for one user more: `Link.leave` is its counterpart."""
    with _guard:
        link = _links.setdefault(cluster.token, Link(cluster))
        link.users += 1
        return link


def _is_loss(error: BaseException) -> bool:
    """Whether an error means that the cluster, or a member of it, is away for the moment."""
    return isinstance(error, OSError) or type(error).__name__ in _LOST or hasattr(error, "retryable")


def _text(error: BaseException) -> str:
    text = error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
    return text.splitlines()[0] if text else type(error).__name__


@contextlib.contextmanager
def _heard() -> Any:
    """The exceptions that the client library logs, and does not raise, while it connects."""
    errors: list[BaseException] = []
    thread = threading.get_ident()

    class Listener(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            if record.thread != thread:
                return True
            if record.exc_info and record.exc_info[1] is not None:
                errors.append(record.exc_info[1])
            return False  # what matters of it is said once, by an error of ours

    listener, logger = Listener(), logging.getLogger("hazelcast.connection")
    logger.addFilter(listener)
    try:
        yield errors
    finally:
        logger.removeFilter(listener)


def _before_fork() -> None:
    for link in list(_links.values()):
        link.drop()


def _after_fork() -> None:
    global _guard
    _guard = threading.Lock()
    for link in _links.values():
        link.forget()


os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
