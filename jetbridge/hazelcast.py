"""Makes the imports of Hazelcast's documentation work: ``from hazelcast.jet.pipeline import Pipeline``.

::

    import jetbridge.hazelcast
    from hazelcast.jet.job import JobConfig
    from hazelcast.jet.pipeline import Pipeline

If hazelcast-python-client is installed, its package ``hazelcast`` gets a
subpackage ``jet``, and its ``HazelcastClient`` a method ``get_jet``, with which names of
lists, maps and streams mean structures of its cluster; nothing else
in it is touched. If it is not, an empty package ``hazelcast`` holds ``jet``, and
`jetbridge.connect` gives the client. Importing this module twice does no harm.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
import weakref
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

import jetbridge
from jetbridge.errors import ConfigError, ConnectionError

if TYPE_CHECKING:
    from jetbridge.client import Client, JetService

_OURS = "_jetbridge"
_NAMES = {
    "hazelcast.jet": ("Job", "JobConfig", "JobStatus", "ListSource", "Pipeline", "ProcessingGuarantee", "StreamSource"),
    "hazelcast.jet.pipeline": (
        "AggregateOperation",
        "BatchStage",
        "GroupedStage",
        "ListSource",
        "Pipeline",
        "StreamSource",
    ),
    "hazelcast.jet.job": (
        "Job",
        "JobAlreadyExistsError",
        "JobCancelledError",
        "JobConfig",
        "JobError",
        "JobFailedError",
        "JobStateError",
        "JobStatus",
        "ProcessingGuarantee",
        "TimeoutException",
    ),
}


def install() -> None:
    """Put the modules in place; importing `jetbridge.hazelcast` does it.

    Raises:
        ImportError: When the installed ``hazelcast`` has a ``jet`` of its own.
    """
    parent = _parent()
    if hasattr(getattr(parent, "jet", None), _OURS):
        return
    if not hasattr(parent, _OURS) and importlib.util.find_spec("hazelcast.jet") is not None:
        raise ImportError(
            "the installed package hazelcast has a module hazelcast.jet of its own: "
            "import from jetbridge instead, which has the same names"
        )
    jet = _module("hazelcast.jet", parent, package=True)
    for name in ("pipeline", "job"):
        _module(f"hazelcast.jet.{name}", jet)
    client = getattr(parent, "HazelcastClient", None)
    if client is not None and not hasattr(client, "get_jet"):
        client.get_jet = _get_jet


def _parent() -> ModuleType:
    if "hazelcast" in sys.modules or importlib.util.find_spec("hazelcast") is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of asyncore, on Python 3.11
            return importlib.import_module("hazelcast")
    module = ModuleType("hazelcast", "Stands in for hazelcast-python-client, which is not installed.")
    _dress(module, package=True)
    sys.modules["hazelcast"] = module
    return module


def _module(name: str, parent: ModuleType, *, package: bool = False) -> ModuleType:
    names = _NAMES[name]
    module = ModuleType(name, f"Names of jetbridge: {', '.join(names)}.")

    def __getattr__(attribute: str) -> Any:
        if attribute not in names:
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}; it has {', '.join(names)}")
        return getattr(jetbridge, attribute)

    module.__getattr__ = __getattr__  # type: ignore[method-assign]
    module.__all__ = list(names)  # type: ignore[attr-defined]
    module.__dir__ = lambda: sorted({*vars(module), *names})  # type: ignore[method-assign]
    _dress(module, package=package)
    sys.modules[name] = module
    setattr(parent, name.rpartition(".")[2], module)
    return module


def _dress(module: ModuleType, *, package: bool) -> None:
    spec = ModuleSpec(module.__name__, None, origin="jetbridge.hazelcast", is_package=package)
    module.__spec__ = spec
    module.__package__ = module.__name__ if package else module.__name__.rpartition(".")[0]
    if package:
        module.__path__ = []
    setattr(module, _OURS, True)


_services: weakref.WeakKeyDictionary[Any, tuple[dict[str, Any], Client]] = weakref.WeakKeyDictionary()


def _get_jet(self: Any, **settings: Any) -> JetService:
    """The service that pipelines are submitted to, on structures of this client's cluster.

    It is the same at each call, and ends with the client: `shutdown` waits for jobs that end, and
    suspends those that do not.

    Args:
        self: The client.
        **settings: As for `jetbridge.connect`, such as ``runner="flink"``; at the first call.

    Raises:
        ConnectionError: When the client is shut down.
        ConfigError: For a setting that is not allowed, or when it is another one than at the first call.
    """
    from jetbridge.connectors.hazelcast.cluster import HazelcastCluster

    if not self.lifecycle_service.is_running():
        raise ConnectionError("get_jet: this HazelcastClient is shut down: make a new one")
    known = _services.get(self)
    if known is not None:
        if settings and settings != known[0]:
            raise ConfigError(
                f"get_jet was called with {known[0] or 'no settings'} before, and now with {settings}: give the "
                "settings at the first call, or use jetbridge.connect(hazelcast=...) for a client with others"
            )
        return known[1].get_jet()
    client = jetbridge.connect(hazelcast=HazelcastCluster.of(self).config, **settings)
    _services[self] = settings, client
    self.lifecycle_service.add_listener(lambda state: client.shutdown() if state == "SHUTTING_DOWN" else None)
    return client.get_jet()


install()
