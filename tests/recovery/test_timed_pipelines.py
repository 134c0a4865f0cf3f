"""Windows, joins, services and failed items in a stream that is killed, suspended and taken on from a snapshot."""

from __future__ import annotations

import pytest
from timed_pipelines import FAR, comparable, event, timed, timed_expected, timed_outputs

COUNT = 2_005


class Feed:
    """Publishes the events in pieces of any size, and at the end the one that lets all windows end."""

    def __init__(self, stream, chance):
        self.stream = stream
        self.chance = chance
        self.published = 0

    def some(self):
        """Publish some; False when all are."""
        end = min(COUNT, self.published + self.chance.choice([1, 40, 250]))
        self.stream.publish_all([event(number) for number in range(self.published, end)])
        self.published = end
        return end < COUNT

    def rest(self):
        while self.some():
            pass
        self.stream.publish((COUNT, FAR))


def check(client, name, until, job):
    expected = timed_expected(COUNT)

    def all_there():
        assert not job.is_terminal(), "the job has ended"
        return all(len(client.get_list(name + each)) >= len(items) for each, items in expected.items())

    until(all_there, "the last result")
    job.suspend()
    found = comparable(timed_outputs(client, name, expected))
    for each, items in comparable(expected).items():
        assert found[each] == items, each
    job.cancel()


def killed(client, jet, job, name, feed, killer, until, config):
    while killer.kills < 5 and feed.some():
        assert killer.strike(job, 0.1)
    return job


def suspended(client, jet, job, name, feed, killer, until, config):
    for _ in range(3):
        feed.some()
        before = killer.commits(job)
        until(lambda before=before: killer.commits(job) > before, "a commit")
        job.suspend()
        feed.some()
        job.resume()
    return job


def taken_on(client, jet, job, name, feed, killer, until, config):
    for number in range(3):
        feed.some()
        before = killer.commits(job)
        until(lambda before=before, job=job: killer.commits(job) > before, "a commit")
        job.cancel_and_export_snapshot(f"{name}{number}")
        feed.some()
        job = jet.submit(timed(name), config(f"{name}{number}", initial_snapshot_name=f"{name}{number}"))
    return job


WAYS = pytest.mark.parametrize("disturb", [killed, suspended, taken_on], ids=lambda way: way.__name__)


@WAYS
def test_a_stream_with_windows_and_joins(client, jet, killer, chance, config, until, disturb):
    run(client, jet, killer, chance, config, until, disturb, f"timed {disturb.__name__} ")


@pytest.mark.full
@pytest.mark.parametrize("round_", range(6))
@WAYS
def test_many_streams_with_windows_and_joins(client, jet, killer, chance, config, until, disturb, round_):
    run(client, jet, killer, chance, config, until, disturb, f"timed {disturb.__name__} {round_} ")


def run(client, jet, killer, chance, config, until, disturb, name):
    feed = Feed(client.get_stream(name), chance)
    job = jet.submit(timed(name), config(name))
    job = disturb(client, jet, job, name, feed, killer, until, config)
    feed.rest()
    check(client, name, until, job)
