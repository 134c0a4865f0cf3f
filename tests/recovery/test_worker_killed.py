"""A worker that is killed at random moments: its job ends as if nobody had touched it."""

from __future__ import annotations

import contextlib

import psutil
import pytest
from recovery_pipelines import batch, batch_outputs, comparable, stream, stream_expected, stream_outputs

import jetbridge

DEADLINE = 120.0


def disturb_batch(jet, killer, folder, config, name, kills):
    job = jet.submit(batch(f"{name}-", folder), config(name))
    while killer.kills < kills and killer.strike(job):
        pass
    job.join(DEADLINE)
    return job


@pytest.mark.parametrize("round_", range(2))
def test_a_batch_job(client, jet, killer, folder, config, counts, undisturbed, round_):
    name = f"batch-{round_}"
    job = disturb_batch(jet, killer, folder, config, name, 8)
    assert killer.kills >= 3, "the job was too quick to be disturbed"
    assert batch_outputs(client, f"{name}-", folder) == undisturbed[0]
    assert counts(job) == undisturbed[1]


@pytest.mark.full
@pytest.mark.parametrize("round_", range(14))
def test_many_batch_jobs(client, jet, killer, folder, config, counts, undisturbed, round_):
    name = f"many-{round_}"
    job = disturb_batch(jet, killer, folder, config, name, 10)
    assert batch_outputs(client, f"{name}-", folder) == undisturbed[0]
    assert counts(job) == undisturbed[1]


def test_a_process_of_the_pool(home, chance, folder, config, counts, undisturbed, until, family_of_worker):
    """What a pool's process was working on is lost with it, and nothing else."""
    with jetbridge.connect(home=home, parallelism=2, shards=16) as client:
        job = client.get_jet().submit(batch("pool-", folder), config("pool"))
        registry = client._session.registry
        kills = 0
        while kills < 3:
            before = registry.get(job.id).commits
            until(lambda before=before: job.is_terminal() or registry.get(job.id).commits > before)
            processes = family_of_worker(client, job)
            if job.is_terminal():
                break
            if processes:
                kills += 1
                with contextlib.suppress(psutil.NoSuchProcess):
                    chance.choice(processes).kill()
        job.join(DEADLINE)
        assert kills
        assert batch_outputs(client, "pool-", folder) == undisturbed[0]
        assert counts(job) == undisturbed[1]


@pytest.fixture
def family_of_worker():
    def family(client, job):
        pid = client._session.jobs.get(job.id).pid
        try:
            return [] if pid is None else psutil.Process(pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    return family


def disturb_stream(client, jet, killer, chance, folder, config, until, name, kills):
    events = client.get_stream(f"{name}-")
    job = jet.submit(stream(f"{name}-", folder), config(name))
    published = 0
    while killer.kills < kills or published < 2_000:
        some = chance.choice([1, 10, 700])
        events.publish_all(range(published, published + some))
        published += some
        if killer.kills < kills:
            assert killer.strike(job, 0.15)
    expected = stream_expected(published)
    until(lambda: len(client.get_list(f"{name}-plain")) >= published, "the last event")
    until(lambda: len(stream_outputs(client, f"{name}-", folder)["file"]) >= published, "the last part")
    job.suspend()
    found = comparable(stream_outputs(client, f"{name}-", folder))
    job.cancel()
    return job, found, expected, published


def check_counts(found, published):
    assert found["events"] == (0, published)
    assert found["plain"] == (published, 0)
    assert found["rolling_aggregate"] == (published, published)
    assert found["once"] == (min(published, 501), 0)
    assert found["ledger"] == (published, 0)


def test_a_stream(client, jet, killer, chance, folder, config, counts, until):
    job, found, expected, published = disturb_stream(client, jet, killer, chance, folder, config, until, "stream", 10)
    assert found == expected
    check_counts(counts(job), published)


@pytest.mark.full
@pytest.mark.parametrize("round_", range(4))
def test_many_streams(client, jet, killer, chance, folder, config, counts, until, round_):
    job, found, expected, published = disturb_stream(
        client, jet, killer, chance, folder, config, until, f"streams-{round_}", 15
    )
    assert found == expected
    check_counts(counts(job), published)
