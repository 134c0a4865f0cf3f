"""One run of a contender: worker.py CONTENDER ADDRESS. It prints its seconds, and how much it wrote."""

import json
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable

BATCH = 5_000
FLYING = 4


def by_hand(address: str) -> tuple[Callable[[str, str], None], Callable[[str], int]]:
    """With the client alone: all entries at once, batches of puts, of which some are on their way."""
    from hazelcast import HazelcastClient

    client = HazelcastClient(cluster_members=[address])

    def run(source: str, target: str) -> None:
        flying: deque[object] = deque()
        sink = client.get_map(target)
        batch: dict[int, str] = {}
        for key, value in client.get_map(source).entry_set().result():
            if key % 2 == 0:
                batch[key] = value.upper()
                if len(batch) == BATCH:
                    flying.append(sink.put_all(batch))
                    batch = {}
                    if len(flying) > FLYING:
                        flying.popleft().result()
        flying.append(sink.put_all(batch))
        for future in flying:
            future.result()

    return run, lambda target: client.get_map(target).size().result()


def by_jetbridge(address: str, cores: int, home: str) -> tuple[Callable[[str, str], None], Callable[[str], int]]:
    """With a pipeline."""
    import jetbridge
    from jetbridge import Pipeline

    client = jetbridge.connect(home=home, parallelism=cores, hazelcast={"cluster_members": [address]})

    def run(source: str, target: str) -> None:
        pipeline = Pipeline.create()
        even = pipeline.read_from(Pipeline.from_map(source)).filter(lambda entry: entry[0] % 2 == 0)
        even.map(lambda entry: (entry[0], entry[1].upper())).write_to(Pipeline.to_map(target))
        client.get_jet().submit(pipeline).join()

    return run, lambda target: client.get_map(target).size()


def main(contender: str, address: str) -> None:
    """Warm up on a small map, and measure."""
    home = tempfile.mkdtemp(prefix="jetbridge-bench-")
    cores = contender.rpartition("-")[2]
    run, size = by_hand(address) if contender == "by hand" else by_jetbridge(address, int(cores), home)
    target = f"target of {contender}"
    run("small", "small target")
    started = time.monotonic()
    run("source", target)
    print(json.dumps({"seconds": time.monotonic() - started, "size": size(target)}), flush=True)
    shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])
