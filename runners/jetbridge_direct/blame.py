"""Whose fault it was: what a connector raises becomes an error that names its stage."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jetbridge.errors import ItemError, JetbridgeError
from jetbridge.kernels.failure import describe, user_traceback
from jetbridge_direct.pool import PoolProcessDied

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetbridge.plan.ends import SinkNode, SourceNode


@contextmanager
def blaming_source(node: SourceNode) -> Iterator[None]:
    """For calls of a source's methods."""
    with _blaming("source", node.name):
        yield


@contextmanager
def blaming_sink(node: SinkNode) -> Iterator[None]:
    """For calls of a sink's methods."""
    with _blaming("sink", node.name):
        yield


@contextmanager
def _blaming(what: str, name: str) -> Iterator[None]:
    try:
        yield
    except (ItemError, PoolProcessDied, sqlite3.Error):
        raise  # the transaction says what SQLite's errors mean
    except Exception as error:
        text = str(error) if isinstance(error, JetbridgeError) else describe(error)
        raise ItemError(
            f"{what} '{name}' failed: {text}",
            stage=name,
            user_traceback=user_traceback(error),
            cause_type=type(error).__name__,
        ) from error
