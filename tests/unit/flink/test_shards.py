"""The decoded shards of a process: what tells a copy that is true from one that is not."""

import multiprocessing

from jetbridge_flink import shards
from jetbridge_flink.shards import Shard, ShardCache


def test_no_process_gives_the_nonce_of_another_one():
    """Workers are forked from one process, which may have given some."""
    cache = ShardCache()
    given = {cache.nonce() for _ in range(100)}
    assert len(given) == 100
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    workers = [
        context.Process(target=lambda: queue.put([cache.nonce() for _ in range(100)]), daemon=True) for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for _ in workers:
        given.update(queue.get())
    for worker in workers:
        worker.join()
    given.update(cache.nonce() for _ in range(100))
    assert len(given) == 400


def test_a_copy_counts_only_while_the_state_has_its_nonce():
    """A bundle that failed has changed its copy, and Beam's state is what it was before."""
    cache = ShardCache()
    place, old, new = ("run", "sums", 0), cache.nonce(), cache.nonce()
    cache.put(place, Shard(nonce=new, state={"a": 2}))
    assert cache.get(place, old) is None
    assert cache.get(place, new) is None, "and it is gone"
    cache.put(place, Shard(nonce=new, state={"a": 2}))
    found = cache.get(place, new)
    assert found is not None
    assert found.state == {"a": 2}
    assert cache.get(place, new) is None, "it belongs to who has got it"


def test_the_least_used_copies_leave(monkeypatch):
    monkeypatch.setattr(shards, "CACHE_BYTES", 100)
    cache = ShardCache()
    for number in range(5):
        cache.put(("run", "sums", number), Shard(nonce=b"n", base=20, grown=20))
    assert [cache.get(("run", "sums", number), b"n") is not None for number in range(5)] == [False] * 3 + [True] * 2
