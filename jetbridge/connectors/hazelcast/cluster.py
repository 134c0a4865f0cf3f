"""Which Hazelcast cluster is meant, and how a client connects to it: what travels to the workers."""

from __future__ import annotations

import os
import secrets
import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import cloudpickle

from jetbridge.errors import ConfigError
from jetbridge.extras import install

if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST_SECONDS = 20.0
"""How long the first connection is tried for when the config has no ``cluster_connect_timeout``."""

_LOCAL = {
    # What belongs to the client of the user's own process, or would change how jetbridge waits for a cluster.
    *("near_caches", "load_balancer", "membership_listeners", "lifecycle_listeners", "client_name"),
    *("async_start", "reconnect_mode", "statistics_enabled"),
}
_FILES = ("ssl_cafile", "ssl_certfile", "ssl_keyfile")
_ADDRESS = "127.0.0.1:5701"  # where the client looks when no members are named
_FOREVER = -1


class HazelcastCluster:
    """A cluster, as the configuration of clients that connect to it.

    It is pickled with the pipeline, its passwords too, and opened by `links` in
    each process that needs it; no client object travels.

    Example:
        >>> HazelcastCluster({"cluster_name": "prod", "cluster_members": ["10.0.0.5:5701"], "creds_password": "x"})
        <HazelcastCluster 'prod' at 10.0.0.5:5701>

    Args:
        config: Keyword arguments of ``hazelcast.HazelcastClient``, such as
            ``cluster_members``, ``cluster_name``, ``creds_username``, ``ssl_enabled``, ``compact_serializers``.

    Raises:
        ConfigError: When it is no mapping, the client library is missing or does not know an
            option, or a value cannot travel to the workers.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        if not hasattr(config, "items"):
            raise ConfigError(
                "hazelcast must be a mapping of options of HazelcastClient, such as "
                f"{{'cluster_members': ['127.0.0.1:5701']}}; got {type(config).__name__}"
            )
        require_client()
        self.config = {name: value for name, value in config.items() if name not in _LOCAL and value is not None}
        for name in _FILES:
            if name in self.config:
                self.config[name] = os.path.abspath(self.config[name])  # workers may run elsewhere
        self._check()
        self.token = secrets.token_hex(8)

    @staticmethod
    def of(client: Any) -> HazelcastCluster:
        """The cluster of a ``HazelcastClient``, with that client's configuration."""
        from hazelcast.config import Config

        config, plain = client._config, Config()
        changed = {}
        for slot in Config.__slots__:
            value = getattr(config, slot)
            if value != getattr(plain, slot):
                changed[slot.removeprefix("_")] = value
        return HazelcastCluster(changed)

    @property
    def name(self) -> str:
        """The cluster's name."""
        return str(self.config.get("cluster_name", "dev"))

    @property
    def addresses(self) -> str:
        """Where it is looked for, as text."""
        return ", ".join(map(str, self.config.get("cluster_members") or [_ADDRESS]))

    @property
    def first_seconds(self) -> float:
        """How long a first connection is tried for."""
        timeout = self.config.get("cluster_connect_timeout", FIRST_SECONDS)
        return FIRST_SECONDS if timeout == _FOREVER else float(timeout)

    @property
    def again_seconds(self) -> float:
        """How long a cluster may be away, during a job, before that fails."""
        timeout = float(self.config.get("cluster_connect_timeout", _FOREVER))
        return float(self.config.get("invocation_timeout", 120.0)) if timeout == _FOREVER else timeout

    def client_config(self) -> Any:
        """A new ``hazelcast.config.Config`` for a client of a worker."""
        require_client()
        from hazelcast.config import Config

        # A client gives up at once when the cluster is gone: `links` waits for it, and makes a new one.
        return Config.from_dict({**self.config, "cluster_connect_timeout": 0, "client_name": None})

    def _check(self) -> None:
        from hazelcast.config import Config

        for name, value in self.config.items():
            try:
                Config.from_dict({name: value})
            except Exception as error:
                text = getattr(error, "args", (str(error),))[0]
                raise ConfigError(f"hazelcast: {name} is not as HazelcastClient takes it: {text}") from error
            try:
                cloudpickle.dumps(value)
            except Exception as error:
                raise ConfigError(
                    f"hazelcast: {name} cannot travel to the workers ({type(error).__name__}: {error}): "
                    "use a class at the top level of a module, without open files, locks or connections"
                ) from error

    def __repr__(self) -> str:
        return f"<HazelcastCluster '{self.name}' at {self.addresses}>"

    def __str__(self) -> str:
        return f"Hazelcast cluster '{self.name}' at {self.addresses}"


def require_client() -> None:
    """Import the client library.

    Raises:
        ConfigError: When it is not.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of asyncore, which it brings itself where Python has none
        # An empty package of that name stands in for it where it is not installed: see `jetbridge.hazelcast`.
        found = find_spec("hazelcast") is not None and find_spec("hazelcast.config") is not None
    if not found:
        raise ConfigError(f"structures of a Hazelcast cluster need hazelcast-python-client: {install('hazelcast')}")
