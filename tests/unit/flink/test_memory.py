from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbridge.errors import ClusterError
from jetbridge_flink.memory import machine_memory, sized

GB = 1 << 30


@given(slots=st.integers(1, 64), machine=st.integers(GB, 512 * GB))
def test_sizes_stay_within_the_machine(slots, machine):
    with contextlib.suppress(ClusterError):
        sizes = sized(slots, machine)
        check(sizes, slots, machine)


def check(sizes, slots, machine):
    assert sizes.total << 20 <= machine * 0.6
    if machine >= 6 * GB and slots <= 8:
        assert sizes.total << 20 <= machine * 0.4 + GB / 4
    assert 600 <= sizes.jobmanager <= 1600
    assert sizes.taskmanager_heap >= 384


@given(slots=st.integers(1, 16), machine=st.integers(8 * GB, 256 * GB))
def test_more_memory_or_slots_never_mean_less(slots, machine):
    sizes = sized(slots, machine)
    larger = sized(slots, 2 * machine)
    assert larger.taskmanager_heap >= sizes.taskmanager_heap
    assert larger.jobmanager_heap >= sizes.jobmanager_heap
    assert sized(slots + 1, 2 * machine).network > sizes.network


@pytest.mark.parametrize(("slots", "machine"), [(1, 1 * GB), (2, 2 * GB), (4096, 64 * GB)])
def test_a_machine_that_is_too_small(slots, machine):
    with pytest.raises(ClusterError, match=rf"{slots} slots? needs \d+ MB .* has {machine >> 20} MB; ask for fewer"):
        sized(slots, machine)


def test_four_gigabytes_are_enough_for_two_slots():
    assert sized(2, int(3.7 * GB)).total < 2000


def test_this_machines_memory():
    assert GB // 2 < machine_memory() < 1 << 50
