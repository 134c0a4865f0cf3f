"""Timestamps: which items lie behind their partition's watermark, however they are cut into chunks."""

from __future__ import annotations

import datetime as dt
import itertools
import logging
import time

import pytest
from event_time import stamp
from hypothesis import given
from hypothesis import strategies as st

from jetbridge.errors import ItemError
from jetbridge.kernels.aside import Careful
from jetbridge.kernels.stamp import StampKernel
from jetbridge.kernels.stateless import UntimeKernel
from jetbridge.plan.times import INGESTION, NATIVE
from jetbridge.times import BEGINNING, EARLIEST, LATEST, Behind, TimedItems

UTC = dt.timezone.utc
times = st.lists(st.one_of(st.integers(-50, 50), st.integers(EARLIEST, LATEST)), max_size=40)


def itself(item):
    return item


def marks(times, lag):
    """The watermark before each item, where the item lies behind it."""
    newest = None
    for at in times:
        yield newest - lag if newest is not None and at < newest - lag else None
        newest = at if newest is None else max(newest, at)


@given(items=times, lag=st.sampled_from([0, 1, 20, 10**9]), cuts=st.lists(st.integers(0, 40), max_size=6))
def test_what_lies_behind_is_a_matter_of_the_item_and_not_of_the_chunk(items, lag, cuts):
    kernel = stamp(lag, itself)
    out = []
    for a, b in itertools.pairwise([0, *sorted(cuts), 40]):
        chunk = kernel(items[a:b])
        assert list(chunk) == items[a:b]
        out += chunk.times
    assert out == items
    assert [at.watermark if type(at) is Behind else None for at in out] == list(marks(items, lag))
    expected = max(items) - lag if items else BEGINNING
    assert kernel.clock.watermark({"times": lag}) == expected


@given(items=times)
def test_on_a_batch_nothing_lies_behind(items):
    kernel = stamp(0, itself, live=False)
    assert set(map(type, kernel(items).times)) <= {int}
    assert kernel.clock.watermark({"times": 0}) == BEGINNING


@given(
    at=st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2250, 1, 1)),
    offset=st.integers(-720, 720).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes))),
)
def test_datetimes_of_every_zone(at, offset):
    moment = at.replace(tzinfo=offset)
    [found] = stamp(0, itself)([moment]).times
    assert dt.datetime(1970, 1, 1, tzinfo=UTC) + dt.timedelta(milliseconds=found) <= moment
    assert moment < dt.datetime(1970, 1, 1, tzinfo=UTC) + dt.timedelta(milliseconds=found + 1)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("2013-01-01", ["'2013-01-01' (str)"]),
        (None, ["None (NoneType)"]),
        (float("nan"), ["nan (float)", "int(value)"]),
        (1.5e12, ["float", "int(value)"]),
        (True, ["True (bool)"]),
        (dt.datetime(2013, 1, 1), ["time zone", "timezone.utc"]),
        (dt.date(2013, 1, 1), ["a date has no hour"]),
        (LATEST + 1, ["between", str(LATEST + 1)]),
        (EARLIEST - 1, ["between"]),
    ],
    ids=repr,
)
@pytest.mark.parametrize("before", [[], [1, 2]], ids=["first", "third"])
def test_a_value_that_is_no_time_is_named_with_its_item(bad, words, before):
    with pytest.raises(ItemError) as caught:
        stamp(0, itself)([*before, bad, 3])
    assert caught.value.stage == "times"
    for word in ["with_timestamps 'times'", *words]:
        assert word in str(caught.value)


def test_a_function_that_raises_is_named_with_the_item():
    with pytest.raises(ItemError, match="KeyError") as caught:
        stamp(0, lambda item: item["at"])([{"at": 1}, {"time": 2}])
    assert "'time': 2" in caught.value.item


def test_seconds_are_hinted_at_once(caplog):
    kernel = stamp(0, itself)
    with caplog.at_level(logging.WARNING, "jetbridge"):
        for _ in range(3):
            kernel([1_700_000_000, 1_700_000_001])
    [record] = caplog.records
    assert "looks like seconds" in record.message
    assert "multiply by 1000" in record.message


def test_native_times_are_those_of_the_source():
    kernel = stamp(5, NATIVE)
    chunk = kernel(TimedItems("abc", [20, 10, 30]))
    assert (list(chunk), chunk.times) == (["a", "b", "c"], [20, 10, 30])
    assert type(chunk.times[1]) is Behind
    assert chunk.times[1].watermark == 15


def test_ingestion_times_never_go_back():
    kernel = stamp(0, INGESTION)
    before = int(time.time() * 1000)
    found = [at for _ in range(50) for at in kernel(["a", "b"]).times]
    assert found == sorted(found)
    assert before <= found[0]
    assert found[-1] <= int(time.time() * 1000)
    kernel.clock.newest["times"] = ahead = found[-1] + 10**9
    assert kernel(["a"]).times == [ahead], "also where the clock was set back"


@given(items=st.lists(st.one_of(st.integers(0, 99), st.just("bad"), st.none()), max_size=20), lag=st.integers(0, 9))
def test_careful_stamps_leave_out_what_has_no_time_and_the_watermark_is_that_of_the_others(items, lag):
    kernel = Careful(stamp(lag, itself))
    good = [item for item in items if type(item) is int]
    chunk = kernel(items)
    assert list(chunk) == good
    if good:
        assert [at.watermark if type(at) is Behind else None for at in chunk.times] == list(marks(good, lag))
    assert [failed.item for failed in kernel.failed] == [item for item in items if type(item) is not int]
    assert all(failed.error.startswith("ValueError: a timestamp must be") for failed in kernel.failed)
    assert isinstance(kernel.kernel, StampKernel)


def test_untime_takes_the_times_away():
    kernel = UntimeKernel("plain")
    chunk = kernel.timed(TimedItems("ab", [1, 2]))
    assert type(chunk) is list
    assert chunk == ["a", "b"]
    assert kernel(["a"]) == ["a"]
