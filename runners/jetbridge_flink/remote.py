"""A Flink cluster that somebody else has started, as the jobs of this client see it."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from jetbridge.connectors.embedded import EmbeddedSink, ListSource, MapSource, StreamSource
from jetbridge.connectors.lookup import StoredMapLookup
from jetbridge.errors import ClusterError, ConfigError, UnsupportedByRunnerError
from jetbridge.plan.services import MapLookupNode
from jetbridge_flink import jars, remote_checks, server_jar
from jetbridge_flink.clusters import Workers
from jetbridge_flink.own_pool import OwnPool

if TYPE_CHECKING:
    from pathlib import Path

    from jetbridge.plan.graph import Plan
    from jetbridge.settings import Settings
    from jetbridge_flink.rest import FlinkRest

_LOGGER = logging.getLogger("jetbridge")
_FRESH = 5.0  # seconds for which what was checked counts as known
_ROOM_SECONDS = 10.0  # within which TaskManagers register, and the slots of a job that has ended are free again
_GIVEN_BACK = 0.5


class RemoteCluster:
    """A cluster at an address; see `jetbridge_flink.clusters.FlinkCluster`.

    Args:
        settings: The settings, with a ``flink_url``.
        home: The data folder.

    Attributes:
        rest_url: The address of its REST service.
        checkpoints: The folder of checkpoints.
        savepoints: The folder of savepoints.
        configuration: Options that each job brings with it.
        here: Whether it is on this machine.

    Raises:
        ConfigError: When the settings do not say where its workers come from.
    """

    def __init__(self, settings: Settings, home: Path) -> None:
        assert settings.flink_url is not None
        self.rest_url = settings.flink_url.rstrip("/")
        host = urlsplit(self.rest_url).hostname or ""
        self.here = remote_checks.is_here(host)
        folder = settings.flink_checkpoints or home / "flink"
        self.checkpoints = folder / "checkpoints"
        self.savepoints = folder / "savepoints"
        self.configuration = {
            # Flink takes these as they are: nothing in them may be quoted as in other addresses.
            "state.checkpoints.dir": f"file://{self.checkpoints}",
            "state.savepoints.dir": f"file://{self.savepoints}",
            "execution.buffer-timeout.interval": "10 ms",  # an element is a chunk: it does not wait for company
        }
        self._home = home
        self._settings = settings
        self._lock = threading.Lock()
        self._client: FlinkRest | None = None
        self._checked: float | None = None
        self._fat = True
        self._pool: OwnPool | None = None
        self._left: dict[str, OwnPool] = {}  # those that other clients have left
        if settings.flink_worker_pool is None and settings.flink_worker_command is None:
            if not self.here:
                raise ConfigError(
                    f"where do the TaskManagers of {self.rest_url} find Python workers? It is not this machine, so "
                    "give flink_worker_pool (host:port of the pool beside each TaskManager: python -m "
                    "jetbridge_flink.worker_pool) or flink_worker_command (what a TaskManager starts for each worker)"
                )
            self._pool = OwnPool(home / "logs" / "flink")
        if settings.flink_headers and self.rest_url.startswith("http:") and not self.here:
            _LOGGER.warning("flink_headers travel to %s unencrypted: give an https address", self.rest_url)

    def check(self, *, room: bool = False) -> None:
        """Find out what would keep a job from running, before it is sent.

        Args:
            room: Whether it must have free slots now.

        Raises:
            ConnectionError: When it does not answer.
            ClusterError: When it does not let jetbridge in, cannot run its jobs, or has no room; or when it does not
                see the folder of checkpoints, or there is no worker pool.
        """
        rest, server = self._own_client(), self._settings.flink_jars
        with self._lock:
            if self._checked is None or time.monotonic() - self._checked > _FRESH:
                remote_checks.check_version(rest, server)
                remote_checks.check_submission(rest)
                self._fat = server is None and not remote_checks.has_jars(rest)
                if self._settings.flink_worker_pool is not None:
                    remote_checks.check_pool(self._settings.flink_worker_pool)
                remote_checks.check_folders(rest, self.checkpoints, self.savepoints)
                self._checked = time.monotonic()
        if room:
            remote_checks.check_room(rest, self._settings.parallelism or 1, _ROOM_SECONDS)

    def refuse(self, plan: Plan) -> None:
        """Refuse stored lists, maps and streams where no worker can reach them.

        Raises:
            UnsupportedByRunnerError: When the cluster is another machine, and the plan has some.
        """
        if self.here:
            return
        ends: list[tuple[str, Any]] = [
            (node.name, node.source) for node in plan.sources if isinstance(node.source, _EMBEDDED)
        ]
        ends += [(node.name, node.sink) for node in plan.sinks if isinstance(node.sink, _EMBEDDED)]
        lookups = [(node.name, node.lookup) for node in plan.nodes if isinstance(node, MapLookupNode)]
        ends += [(name, lookup) for name, lookup in lookups if isinstance(lookup, _EMBEDDED)]
        for name, end in ends:
            raise UnsupportedByRunnerError(
                f"'{name}' is a {end.kind} of the data folder {self._home}, which serves one machine, and the Flink "
                f"cluster {self.rest_url} is another one: read and write files that both reach, run the client there, "
                "or leave flink_url out"
            )

    def warm(self) -> None:
        """Start what takes time."""
        if self._pool is not None:
            _ = self._pool.address

    @property
    def address(self) -> str:
        """Where later clients find jobs, which run on without this one."""
        return self.rest_url

    @property
    def workers(self) -> Workers:
        """Where its workers come from: as the settings say, or from a pool of this client's own.

        Raises:
            ClusterError: When that pool cannot be started.
        """
        if self._settings.flink_worker_command is not None:
            return Workers(command=self._settings.flink_worker_command, elsewhere=True)
        if self._pool is None:
            return Workers(pool=self._settings.flink_worker_pool or "", elsewhere=True)
        return Workers(pool=self._pool.address)

    def stand_by(self, pool: str) -> None:
        """Take the place of a pool that another client has left, when that dies.

        Args:
            pool: Where that one listens, as host:port.
        """
        with self._lock:
            if pool not in self._left:
                self._left[pool] = OwnPool(self._home / "logs" / "flink", int(pool.rpartition(":")[2]))
                self._left[pool].stand_by()

    @property
    def slots(self) -> int:
        """How many slots are free, at least one.

        Raises:
            ClusterError: When there are none.
        """
        rest, wanted = self._own_client(), self._settings.parallelism
        try:
            view = remote_checks.check_room(rest, wanted or 1, _ROOM_SECONDS)
        except ClusterError:
            view = remote_checks.check_room(rest, 1, 0)
            _LOGGER.warning(
                "the Flink cluster has %d free slots, and not the %s asked for", view.slots_available, wanted
            )
        if wanted is None and view.slots_available < view.slots_total:
            time.sleep(_GIVEN_BACK)  # the slots of a job that has just ended are given back in a moment
            view = rest.overview()
        return max(1, view.slots_available)

    def rest(self) -> FlinkRest:
        """A new client of its REST service.

        Raises:
            ConfigError: When the files of certificates cannot be used.
        """
        from jetbridge_flink.rest import FlinkRest

        settings = self._settings
        return FlinkRest(
            self.rest_url,
            headers={name: value.get_secret_value() for name, value in settings.flink_headers.items()},
            ca=None if settings.flink_ca is None else str(settings.flink_ca),
            certificate=None if settings.flink_certificate is None else str(settings.flink_certificate),
        )

    def job_jar(self, proto_json: bytes, options_json: bytes) -> bytes:
        """The jar of a job: with Beam's runner in it, unless the cluster has that."""
        if self._settings.flink_jars is not None:
            return server_jar.job_jar(self._settings.flink_jars, proto_json, options_json)
        return jars.job_jar(proto_json, options_json, fat=self._fat)

    def close(self, *, leave: bool = False) -> None:
        """Close the connections, and end the worker pools of this client; or leave them to jobs that run on."""
        with self._lock:
            pools = [self._pool] if self._pool is not None else []
            pools += self._left.values()
            client, self._client = self._client, None
        for pool in pools:
            pool.close(leave=leave)
        if client is not None:
            client.close()

    def _own_client(self) -> FlinkRest:
        with self._lock:
            if self._client is None:
                self._client = self.rest()
            return self._client


_EMBEDDED = (ListSource, MapSource, StreamSource, EmbeddedSink, StoredMapLookup)
