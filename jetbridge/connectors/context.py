"""What connectors and services are told of the run that they work for."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class ConnectorContext:
    """What a connector, or who makes a service, may know about the run that it works for.

    Example:
        >>> from jetbridge.connectors import ConnectorContext
        >>> context = ConnectorContext(job_id="1", job_name="watch", run="r1", stage="map", home=".jetbridge")
        >>> context.logger.name, context.exactly_once, context.arguments.get("region", "everywhere")
        ('jetbridge.watch', False, 'everywhere')

    Attributes:
        job_id: The job's id.
        job_name: Its name, or its id when it has none.
        run: The id of this run: new at each fresh start, kept by resume and recovery.
        stage: The name of the stage.
        home: The data folder's path, for connectors of the embedded store.
        unbounded: Whether the job is a stream: it will not complete, so what a
            sink stages must become visible on the way.
        exactly_once: Whether the job has that guarantee: a chunk that comes again is then the
            same, and must be left out. With less it may hold other items, and must be written.
        fresh: For a sink: whether nothing of its run was written before this start.
        arguments: What the job's config has as `JobConfig.arguments`; not to be changed.
    """

    job_id: str
    job_name: str
    run: str
    stage: str
    home: str
    unbounded: bool = False
    exactly_once: bool = False
    fresh: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def logger(self) -> logging.Logger:
        """The job's logger, ``jetbridge.<job name>``, whose messages reach the client."""
        return logging.getLogger(f"jetbridge.{self.job_name}")
