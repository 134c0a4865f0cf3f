"""The way in."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from jetbridge.runner import load_runner, prepare

if TYPE_CHECKING:
    from jetbridge.client import Client


def connect(
    *,
    runner: str | None = None,
    home: str | os.PathLike[str] | None = None,
    parallelism: int | None = None,
    shards: int | None = None,
    flink_url: str | None = None,
    **unknown: Any,
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
        parallelism: How many cores a job uses; all by default.
        shards: Into how many shards keys are split; 128 by default.
        flink_url: The address of a Flink cluster, for its runner.
        **unknown: Refused; it is here for the error to be a ConfigError that lists the settings.

    Returns:
        A client, which is also a context manager.

    Raises:
        ConfigError: For a setting that is unknown or not allowed, wherever it came from.
        DataFolderError: When the data folder cannot be used.
    """
    prepare(runner or os.environ.get("JETBRIDGE_RUNNER") or "direct")
    # Only now what takes its time to import: the runner makes use of it.
    from jetbridge import endings
    from jetbridge.client import Client
    from jetbridge.session import Session
    from jetbridge.settings import load_settings

    settings = load_settings(
        runner=runner,
        home=home,
        parallelism=parallelism,
        shards=shards,
        flink_url=flink_url,
        **unknown,
    )
    session = Session(settings, load_runner(settings.runner))
    endings.watch(session)
    return Client(session)
