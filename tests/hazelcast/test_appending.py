"""A process dies at any step of appending, and the next one gets the same chunks again, and more: each item is once."""

from __future__ import annotations

import contextlib
import itertools

import pytest

from jetbridge.connectors.base import SinkChunk
from jetbridge.connectors.hazelcast.appending import ListSink, RingbufferSink

CHUNKS = [[1, 1, 1], [1], [], [1, 1], [2]]  # equal items, so that only their places tell
LOOK = {
    ListSink: lambda hz, name: hz.get_list(name).get_all().result(),
    RingbufferSink: lambda hz, name: list(hz.get_ringbuffer(name).read_many(0, 0, 100).result()),
}


class DiedError(Exception):
    pass


def dying(sink, step):
    """Lets a sink die before or behind one of its questions to the cluster: before the first, behind it, and so on."""
    at = itertools.count()

    def mortal(call):
        def called(*given):
            if next(at) == step:
                raise DiedError
            result = call(*given)
            if next(at) == step:
                raise DiedError
            return result

        return called

    sink._append = mortal(sink._append)
    sink.journal.begin = mortal(sink.journal.begin)
    sink.journal.flush = mortal(sink.journal.flush)
    return sink


def sink_of(kind, target, cluster, most, context):
    sink = kind(target, cluster=cluster)
    sink.open(context)
    sink._most = lambda: most
    return sink


@pytest.mark.parametrize("most", [1, 2, 4, 100], ids="{} a call".format)
@pytest.mark.parametrize("kind", LOOK)
def test_a_process_that_dies_at_any_step(hz, cluster, name, context, written, kind, most):
    steps = 0
    for step in itertools.count():
        target, run = name("appended"), name("run")
        dead = dying(sink_of(kind, target, cluster, most, context(run)), step)
        survived = True
        try:
            written(dead, *CHUNKS[:2], run=run)
            written(dead, *CHUNKS[2:4], first=2, run=run)
        except DiedError:
            survived = False
        # What comes again begins with what was not known to be written, and does not end with it.
        again = sink_of(kind, target, cluster, most, context(run, fresh=False))
        written(again, *CHUNKS, run=run)
        assert LOOK[kind](hz, target) == list(itertools.chain(*CHUNKS)), f"dead at step {step}"
        again.close()
        dead.pause()
        steps += 1
        if survived:
            break
    assert steps > 10


@pytest.mark.parametrize("kind", LOOK)
def test_the_chunks_of_a_commit_are_one_call(cluster, name, context, written, kind):
    sink = sink_of(kind, name("appended"), cluster, 100, context(name("run")))
    calls = []
    append = sink._append
    sink._append = lambda items: calls.append(len(items)) or append(items)
    written(sink, *([n] for n in range(50)))
    written(sink, [50], first=50)
    assert calls == [50, 1]
    sink.close()


def test_what_waits_is_appended_when_it_is_much(hz, cluster, name, context, written, monkeypatch):
    monkeypatch.setattr("jetbridge.connectors.hazelcast.appending.MOST_HELD", 4)
    target = name("appended")
    sink = ListSink(target, cluster=cluster)
    calls = []
    append = sink._append
    sink._append = lambda items: calls.append(len(items)) or append(items)
    written(sink, [1, 2, 3], [4, 5, 6], [7], [8, 9, 10, 11, 12])
    assert calls == [4, 2, 4, 2], "as many as are too many, in parts"
    assert LOOK[ListSink](hz, target) == list(range(1, 13))
    sink.close()


def test_chunks_that_wait_when_a_job_ends_are_not_written(hz, cluster, name, context):
    """They come again: the job's commit has not said that they were written."""
    target = name("appended")
    sink = sink_of(ListSink, target, cluster, 100, context(name("run")))
    with contextlib.closing(sink):
        sink.write(SinkChunk("run", "stage", "0", 0, 1, sink.prepare([1])))
    assert LOOK[ListSink](hz, target) == []
