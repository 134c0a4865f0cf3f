"""Running sums on jetbridge: a stored stream, durable results, one or several cores."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from live import folder, work


class Contender:
    """Runs on a client with a data folder of its own."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._open = ExitStack()
        self._client = self._open.enter_context(folder.client(spec["parallelism"]))

    def prepare(self, items: int) -> None:
        """Fill the stream."""
        folder.publish(self._client, f"numbers-{items}", range(items))

    def run(self, items: int) -> Callable[[], work.Seen]:
        """Submit the job, and wait until the last item's result is in the list."""
        sums = self._client.get_list(f"sums-{items}")
        pipeline = folder.running_sums(f"numbers-{items}", sums.name, work.key_of(self._spec["keys"]), work.add)
        job = self._client.get_jet().submit(pipeline, folder.config("EXACTLY_ONCE", self._spec["interval"]))
        folder.until(lambda: sums.size() >= items or job.is_terminal())

        def result() -> work.Seen:
            job.cancel()
            return work.seen(sums)

        return result

    def close(self) -> None:
        """End the client and remove its data."""
        self._open.close()
