"""The decoded shards of a process: what tells a copy that is true from one that is not."""

import multiprocessing

from jetbridge_flink.shards import ShardCache


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
