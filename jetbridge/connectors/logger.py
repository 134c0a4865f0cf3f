"""A sink that logs items."""

from __future__ import annotations

import logging
import pickle
from typing import Any, ClassVar

from jetbridge.connectors.base import Sink, SinkChunk


class LoggerSink(Sink):
    """Logs each item as text: logger ``jetbridge.<job name>``, level INFO.

    Lines appear after the commit that holds their items, in the client.
    """

    kind: ClassVar[str] = "logger"
    volatile: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__("logger")

    @property
    def identity(self) -> None:
        """A pipeline may log in several places."""
        return None

    def prepare(self, items: list[Any]) -> bytes:
        """The items as text."""
        return pickle.dumps([str(item) for item in items], protocol=5)

    def write(self, chunk: SinkChunk) -> None:
        """Log a chunk."""
        logger = logging.getLogger(f"jetbridge.{self.context.job_name}")
        for line in chunk.items():
            logger.info("%s", line)
