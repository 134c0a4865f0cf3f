"""A writer that is killed at any moment, again and again, leaves each row once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from jetbridge import sources

ROWS = 1500
KILLS = 3
WRITER = """
import json, os, sys, time
from jetbridge import sinks
from jetbridge.connectors import ConnectorContext, SinkChunk, files_parts

kind, path, store, unbounded, total, part_bytes, waits = json.loads(sys.argv[1])
files_parts.PART_BYTES = part_bytes
sink = getattr(sinks, kind)(path)
context = ConnectorContext("job", "job", "run", "stage", ".", unbounded)
if os.path.exists(store):
    with open(store) as file:
        done, position = json.load(file)
    sink.reopen(context, position)
else:
    done = 0
    sink.open(context)
while True:
    end = min(done + 7, total)
    rows = [{"n": n, "s": f"x{n}"} if kind != "text" else str(n) for n in range(done, end)]
    sink.write(SinkChunk("run", "stage", "0", 0, len(rows), sink.prepare(rows)))
    done, position = end, sink.position()
    with open(store + ".new", "w") as file:
        json.dump([done, position], file)
    os.replace(store + ".new", store)
    sink.committed(position)
    if waits is not None and done >= waits:
        time.sleep(60)  # until it is killed: a busy machine may do so late
        sys.exit("nobody has killed this writer")
    if done == total:
        break
sink.complete()
sink.close()
"""


def _committed(store):
    return json.loads(store.read_text())[0] if store.exists() else 0


@pytest.mark.parametrize("unbounded", [False, True], ids=["batch", "stream"])
@pytest.mark.parametrize("name", ["text", "text.gz", "csv.gz", "json_lines", "parquet"])
def test_a_killed_writer_leaves_each_row_once(tmp_path, read_all, name, unbounded):
    chance = random.Random(f"{name} {unbounded}")
    kind, _, ending = name.partition(".")
    path = tmp_path / "out" / (f"rows.{ending}" if ending else "rows")
    store = tmp_path / "position"
    part_bytes = 20_000 if kind == "parquet" else 500
    killed = 0
    deadline = time.monotonic() + 60
    while True:
        before = _committed(store)
        goal = before + chance.randrange(1, ROWS // (KILLS + 1)) if killed < KILLS else ROWS + 1
        waits = before + ROWS // (KILLS + 1) if killed < KILLS else None
        spec = json.dumps([kind, str(path), str(store), unbounded, ROWS, part_bytes, waits])
        writer = subprocess.Popen([sys.executable, "-c", WRITER, spec], stderr=subprocess.PIPE)
        while writer.poll() is None and _committed(store) < goal:
            assert time.monotonic() < deadline
            time.sleep(chance.random() / 500)
        if killed < KILLS:
            writer.kill()
        error = writer.communicate()[1].decode()
        killed += 1
        if writer.returncode == 0:
            break
        assert writer.returncode == -signal.SIGKILL, error
    assert killed == KILLS + 1
    pattern = str(path / "part-*") if unbounded else str(path)
    rows = read_all(getattr(sources, kind)(pattern))
    assert rows == [str(n) if kind == "text" else {"n": n, "s": f"x{n}"} for n in range(ROWS)]
    left = os.listdir(path if unbounded else path.parent)
    assert not [entry for entry in left if entry.startswith(".")]
    assert len(left) > 3 if unbounded else left == [path.name]
