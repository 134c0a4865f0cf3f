"""A source and a sink of your own: what a system that jetbridge does not know needs."""

from pathlib import Path
from typing import Any

import jetbridge
from jetbridge import Pipeline
from jetbridge.connectors import Sink, SinkChunk, Source


class Squares(Source):
    """The square numbers. A source can be read again from any offset: that makes a job recoverable."""

    def __init__(self, count: int) -> None:
        super().__init__(name="squares")
        self.count = count

    def partitions(self) -> list[str]:
        """One partition: its items keep their order."""
        return ["0"]

    def read(self, partition: str, offset: Any, limit: int) -> tuple[list[int], int | None]:
        """About ``limit`` items from an offset on, and the offset after them; None ends the partition."""
        start = offset or 0
        end = min(start + limit, self.count)
        return [number * number for number in range(start, end)], end if end < self.count else None


class Lines(Sink):
    """One line for each item, in a file."""

    def __init__(self, path: Path) -> None:
        super().__init__(name=path.name)
        self.path = path

    def write(self, chunk: SinkChunk) -> None:
        """Chunks come numbered, and only after the commit that holds them."""
        with self.path.open("a") as file:
            file.writelines(f"{item}\n" for item in chunk.items())


output = Path("squares.txt")
output.unlink(missing_ok=True)

pipeline = Pipeline.create()
pipeline.read_from(Squares(1_000)).filter(lambda x: x % 10 == 1).write_to(Lines(output))

with jetbridge.connect() as client:
    client.get_jet().submit(pipeline).join()

print(len(output.read_text().splitlines()), "squares end in 1; the last is", output.read_text().split()[-1])
