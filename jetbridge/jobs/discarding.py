"""What the staged sinks of a job leave behind that ends while no worker is there to close them.

A killed worker, a dead owner or a suspended job leave hidden files: those of a
batch job are to be removed, and of a stream's the committed rows are to be
shown. That takes the job's own sinks, which are code, so a process of its own
loads and closes them.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from jetbridge.config import ProcessingGuarantee
from jetbridge.connectors.base import ConnectorContext
from jetbridge.errors import JetbridgeError, SinkError
from jetbridge.jobs.packing import unpack

if TYPE_CHECKING:
    import os

    from jetbridge.plan.ends import SinkNode
    from jetbridge.store.records import JobRecord

_LOGGER = logging.getLogger("jetbridge")
_COMMAND = "import sys; sys.path[:] = {path!r}; from jetbridge.jobs.discarding import main; main()"
_SECONDS = 60.0


def discard(home: str | os.PathLike[str], record: JobRecord, payload: bytes, checkpoint: dict[str, Any] | None) -> None:
    """Close the staged sinks of a job that is over; what goes wrong is logged.

    Args:
        home: The data folder.
        record: The job, as it was when it still had a run.
        payload: Its packed pipeline.
        checkpoint: Where it stood; None when nobody kept that.
    """
    spec = {
        "payload": payload,
        "sinks": {} if checkpoint is None else checkpoint["sinks"],
        "context": {
            "job_id": record.id,
            "job_name": record.name or record.id,
            "run": record.run,
            "home": str(home),
            "unbounded": record.unbounded,
            "exactly_once": record.config["processing_guarantee"] == ProcessingGuarantee.EXACTLY_ONCE.value,
            "arguments": record.config.get("arguments", {}),
        },
    }
    try:
        done = subprocess.run(
            [sys.executable, "-c", _COMMAND.format(path=sys.path)],
            input=pickle.dumps(spec),
            capture_output=True,
            timeout=_SECONDS,
            start_new_session=True,  # Ctrl-C goes to the client alone
        )
        problem = done.stderr.decode(errors="replace").strip() if done.returncode else ""
    except (OSError, subprocess.SubprocessError) as error:
        problem = str(error)
    if problem:
        _LOGGER.warning("job %s is over, and what its sinks had staged could not be tidied up: %s", record.id, problem)


def main() -> None:
    """The process: close the sinks that stdin tells of."""
    spec = pickle.load(sys.stdin.buffer)
    try:
        sinks = [node for node in unpack(spec["payload"]).plan.sinks if node.sink.staged or node.sink.remembers]
    except JetbridgeError as error:
        sys.exit(str(error))
    problems = []
    for node in sinks:
        try:
            _close(node, spec)
        except Exception as error:
            problems.append(f"sink '{node.name}': {error}")
    sys.exit("; ".join(problems) or 0)


def _close(node: SinkNode, spec: dict[str, Any]) -> None:
    context = ConnectorContext(stage=node.name, **spec["context"])
    position = spec["sinks"].get(node.name, {}).get("position")
    if position is not None:
        node.sink.reopen(context, position)
    else:
        with contextlib.suppress(SinkError):  # a fresh start removes what lies there, even if it may not begin
            node.sink.open(context)
    node.sink.close()
