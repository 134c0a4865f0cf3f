"""The log file that workers append to themselves: what goes in comes out, whatever is printed."""

from __future__ import annotations

import io
import logging
import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbridge.jobs.joblog import ErrorFile, JobLogHandler, Parts, plain

PRINTED = st.binary().filter(lambda data: b"\x01" not in data)  # such text begins no part


class Log:
    """A job's log file, and its workers' ends."""

    def __init__(self, path):
        self.path = path
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.errors = ErrorFile(self.descriptor)
        self.handler = JobLogHandler(self.descriptor)

    def log(self, text, level=logging.INFO, name="shop", error=None):
        self.handler.emit(logging.LogRecord(name, level, "shop.py", 1, text, (), error))

    def parts(self, size=1 << 20):
        parts, data = Parts(), self.path.read_bytes()
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        return [part for piece in pieces for part in parts.found(piece)] + list(parts.rest())

    def told(self, size=1 << 20):
        """What the parts say, text of one kind in one piece."""
        told = []
        for kind, data, name, level in self.parts(size):
            if told and kind == told[-1][0] != "log":
                told[-1] = (kind, told[-1][1] + data)
            else:
                told.append((kind, data, name, level) if kind == "log" else (kind, data))
        return told

    def close(self):
        self.handler.close()
        os.close(self.descriptor)


@pytest.fixture
def log(tmp_path):
    log = Log(tmp_path / "job.log")
    yield log
    log.close()


def test_what_goes_in_comes_out(log):
    os.write(log.descriptor, b"out 1\n")
    log.errors.write(b"err 1\n")
    log.log("100% of 1", logging.WARNING, "shop.orders")
    os.write(log.descriptor, b"no newline")
    log.log("two\nlines", 25)
    for size in (1 << 20, 7, 1):
        assert log.told(size) == [
            ("stdout", b"out 1\n"),
            ("stderr", b"err 1\n"),
            ("log", b"100% of 1", "shop.orders", logging.WARNING),
            ("stdout", b"no newline"),
            ("log", b"two\nlines", "shop", 25),
        ]


def test_people_see_text(log):
    log.errors.write(b"err 1\n")
    log.log("milk")
    first, second = plain(log.path.read_bytes()).decode().splitlines()
    assert first == "err 1"
    assert second[2::3].startswith("::")
    assert second.endswith(" INFO shop: milk")


def test_a_traceback_belongs_to_its_message(log):
    try:
        raise ValueError("no milk")
    except ValueError:
        log.log("failed", logging.ERROR, error=sys.exc_info())
    [part] = log.parts()
    first, *_, last = part.data.decode().splitlines()
    assert (first, last) == ("failed", "ValueError: no milk")


@given(st.lists(st.one_of(PRINTED.map(lambda data: ("out", data)), st.tuples(st.just("err"), st.binary())), max_size=9))
def test_whatever_is_printed(tmp_path_factory, printed):
    log = Log(tmp_path_factory.mktemp("log") / "job.log")
    for kind, data in printed:
        if kind == "out":
            os.write(log.descriptor, data)
        else:
            log.errors.write(data)
    escaped = [(kind, data if kind == "out" else visible(data)) for kind, data in printed]
    for size in (1 << 20, 3):
        told = log.told(size)
        for kind, stream in (("out", "stdout"), ("err", "stderr")):
            expected = b"".join(data for each, data in escaped if each == kind)
            assert b"".join(data for each, data, *_ in told if each == stream) == expected
    log.close()


@given(st.text(), st.text(), st.sampled_from([1, 10, 20, 35, 50]))
def test_whatever_is_logged(tmp_path_factory, text, name, level):
    log = Log(tmp_path_factory.mktemp("log") / "job.log")
    log.log(text, level, name)
    log.log("next")
    first, second = log.parts(size=2)
    assert first.kind == "log"
    assert first.level == level
    assert first.data == visible(text.encode(errors="backslashreplace"))
    assert len(first.name) == len(name.encode(errors="backslashreplace").decode())
    assert second.data == b"next"
    log.close()


@pytest.mark.parametrize(
    "broken", [b"\x01", b"\x01\x02half", b"\x0112:00:00 INFO shop\x02: half", b"\x01\x02\x01\x02\x03", b"\x01\n\x02"]
)
def test_after_a_part_that_is_broken_off_or_was_printed_the_next_is_found(log, broken):
    """A full disk breaks parts off; a program may print such characters itself."""
    os.write(log.descriptor, broken)
    log.log("milk")
    told = log.told(size=4)
    assert told[-1] == ("log", b"milk", "shop", logging.INFO)
    text = b"".join(data for kind, data, *_ in told[:-1])
    assert plain(text) == plain(broken)


def test_a_part_that_never_ends_is_shown_at_the_end(log):
    os.write(log.descriptor, b"tea\n\x01\x02half")
    assert log.told() == [("stdout", b"tea\n\x01\x02half")]


def test_stderr_is_written_by_lines(log):
    stream = io.TextIOWrapper(io.BufferedWriter(log.errors), encoding="utf-8", line_buffering=True)
    print("milk", 1, file=stream)
    assert log.parts() == [("stderr", b"milk 1\n", "", 0)]
    assert stream.fileno() == log.descriptor
    stream.detach()


def visible(data):
    for mark in (1, 2, 3):
        data = data.replace(bytes([mark]), rb"\x%02d" % mark)
    return data
