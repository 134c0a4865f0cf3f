"""The way in."""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from jetbridge.runner import GROUP, load_runner, prepare

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jetbridge.client import Client


def connect(
    *,
    runner: str | None = None,
    home: str | os.PathLike[str] | None = None,
    parallelism: int | None = None,
    shards: int | None = None,
    flink_url: str | None = None,
    hazelcast: Mapping[str, Any] | None = None,
    **more: Any,
) -> Client:
    """Open a data folder and get ready to run pipelines.

    Returns at once; what the first job needs is prepared in the background.
    What is not given here is looked for in the environment (``JETBRIDGE_HOME``),
    then in ``jetbridge.toml`` and then in ``[tool.jetbridge]`` of
    ``pyproject.toml``, both in the working directory.

    Example:
        >>> import jetbridge, tempfile
        >>> from jetbridge import Pipeline
        >>> with jetbridge.connect(home=tempfile.mkdtemp()) as client:
        ...     pipeline = Pipeline.create()
        ...     words = pipeline.read_from(Pipeline.from_list("words", ["to", "be", "or", "not"]))
        ...     stage = words.map(str.upper).write_to(Pipeline.to_list("shouted"))
        ...     client.get_jet().submit(pipeline).join()
        ...     print(client.get_list("shouted").get_all())
        ['TO', 'BE', 'OR', 'NOT']

    Args:
        runner: Who carries out the jobs; "direct" (this machine) by default.
        home: The data folder; ``./.jetbridge`` by default. It is made if it does not exist.
        parallelism: How many cores a job uses; all by default, also on jetbridge's own Flink cluster, whose slots (four
            a core) the jobs of a data folder share. On a Flink cluster elsewhere all slots that are free.
        shards: Into how many shards keys are split; 128 by default.
        flink_url: The address of a Flink cluster that is there already, for its runner.
        hazelcast: Options of ``hazelcast.HazelcastClient``, such as ``cluster_members``: names of lists, maps
            and streams then mean structures of that Hazelcast cluster. Each worker opens a client with them.
        **more: Other settings by their names, such as ``flink_checkpoints``: see `jetbridge.settings.Settings`.

    Returns:
        A client, which is also a context manager.

    Raises:
        ConfigError: For a setting that is unknown or not allowed, wherever it came from.
        DataFolderError: When the data folder cannot be used.
    """
    expected = runner or os.environ.get("JETBRIDGE_RUNNER") or "direct"
    prepare(expected)
    try:
        client = _connected(
            runner=runner,
            home=home,
            parallelism=parallelism,
            shards=shards,
            flink_url=flink_url,
            hazelcast=hazelcast,
            **more,
        )
    except BaseException:
        _forget(expected)
        raise
    if client.settings.runner != expected:
        _forget(expected)
    return client


def _connected(**given: Any) -> Client:
    # Only now what takes its time to import: the runner makes use of it.
    from jetbridge.client import Client
    from jetbridge.jobs import endings
    from jetbridge.jobs.session import Session
    from jetbridge.settings import load_settings

    settings = load_settings(**given)
    session = Session(settings, load_runner(settings.runner))
    endings.watch(session)
    if settings.flink_url is not None:  # only there jobs run on without a client
        session.jobs.attach_all()
    return Client(session)


def _forget(runner: str) -> None:
    """End what a runner has prepared for a client that does not come; the counterpart of `runner.prepare`."""
    for entry in entry_points(group=GROUP, name=runner):
        getattr(sys.modules.get(entry.module), "forget", lambda: None)()
