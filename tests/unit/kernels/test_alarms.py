"""Which key is due first, however keys come, go and move."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jetbridge.kernels.alarms import Alarms


@given(data=st.data())
def test_alarms_know_the_first_of_all(data):
    """However keys come, go and move, the first is the least of those that wait."""
    dues, alarms = {}, None
    alarms = Alarms(dues.get)
    for _ in range(data.draw(st.integers(0, 40))):
        key, due = data.draw(st.integers(0, 4)), data.draw(st.one_of(st.none(), st.integers(0, 9)))
        dues[key] = due
        if due is None and data.draw(st.booleans()):
            del dues[key]
        alarms.note(key, due)
        if data.draw(st.booleans()):
            waiting = [at for at in dues.values() if at is not None]
            found = alarms.first()
            assert (found and found[0]) == min(waiting, default=None)
            assert found is None or dues[found[1]] == found[0]


def test_a_busy_key_has_one_alarm():
    dues = {"a": 0, "b": 10**9}
    alarms = Alarms(dues.get)
    for key, due in dues.items():
        alarms.note(key, due)
    for at in range(1, 10_000):
        dues["a"] = at
        alarms.note("a", at)
    assert len(alarms._heap) == 2
    assert alarms.first() == (9_999, "a")
