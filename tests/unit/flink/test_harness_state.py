"""Beam state in a worker: what a bundle changed goes to the runner together; cached values are weighed."""

import pytest
from apache_beam import coders
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.worker import bundle_processor, statecache

from jetbridge_flink import harness_state


class Answer:
    def __init__(self, log, number, error):
        self.log, self.number = log, number
        self.response = beam_fn_api_pb2.StateResponse(error=error)

    def get(self):
        self.log.append(("answer", self.number))
        return self.response


class Handler:
    """Notes what it is asked for, and which answers are waited for."""

    def __init__(self, error=""):
        self.log, self.error = [], error

    def _asked(self, what):
        self.log.append(what)
        return Answer(self.log, len([each for each in self.log if each[0] != "answer"]), self.error)

    def clear(self, key):
        return self._asked(("clear", key))

    def extend(self, key, coder, elements):
        return self._asked(("extend", key, list(elements)))


class Context:
    def __init__(self, *states):
        self._all_states = dict(enumerate(states))


def bag(handler, key):
    return bundle_processor.SynchronousBagRuntimeState(handler, key, coders.BytesCoder())


@pytest.fixture
def quick(monkeypatch):
    """Beam as a worker has it; as it was afterwards."""
    monkeypatch.setattr(bundle_processor.FnApiUserStateContext, "commit", bundle_processor.FnApiUserStateContext.commit)
    monkeypatch.setattr(statecache, "get_deep_size", statecache.get_deep_size)
    assert harness_state.quicken(), "the installed Beam is not the one that is known here"
    return bundle_processor.FnApiUserStateContext.commit


def test_all_is_sent_before_an_answer_is_waited_for(quick):
    handler = Handler()
    log, about, untouched = bag(handler, "log"), bag(handler, "about"), bag(handler, "other")
    log.add(b"1")
    log.add(b"2")
    cell = bundle_processor.ReadModifyWriteRuntimeState(about)
    cell.write(b"3")
    quick(Context(log, cell, untouched))
    assert handler.log == [
        ("extend", "log", [b"1", b"2"]),
        ("clear", "about"),
        ("extend", "about", [b"3"]),
        *(("answer", number) for number in (1, 2, 3)),
    ]


def test_a_bag_that_was_cleared_is_cleared(quick):
    handler = Handler()
    state = bag(handler, "log")
    state.clear()
    quick(Context(state))
    assert handler.log == [("clear", "log"), ("answer", 1)]


def test_what_the_runner_could_not_store_is_an_error(quick):
    state = bag(Handler("no room"), "log")
    state.add(b"1")
    with pytest.raises(RuntimeError, match="no room"):
        quick(Context(state))


def test_other_kinds_of_state_do_as_they_did(quick):
    class Other:
        committed = False

        def commit(self):
            self.committed = True

    other = Other()
    quick(Context(other))
    assert other.committed


def test_another_beam_is_left_alone(quick, monkeypatch):
    monkeypatch.setattr(bundle_processor.SynchronousBagRuntimeState, "commit", lambda self: self.sent())
    monkeypatch.setattr(bundle_processor.FnApiUserStateContext, "commit", "untouched")
    assert not harness_state.quicken()
    assert bundle_processor.FnApiUserStateContext.commit == "untouched"


VALUES = {
    "nothing": [],
    "small segments": [b"%d" % number for number in range(1000, 1100)],
    "large segments": [bytes([number]) * 1000 for number in range(50)],
    "bytes": b"x" * 5000,
    "others": {"a": [1000, 2000], "b": "text"},
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_weights(value, quick):
    """Near those of Beam's own, which are what the bound of its cache is meant for."""
    beams = statecache.get_deep_size.args[0](value)
    assert beams / 3 <= statecache.get_deep_size(value) <= beams * 3
