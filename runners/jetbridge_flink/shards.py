"""The shards of stages with state, kept as logs of changes in Beam's state and decoded once for each process.

Beam gives a DoFn its state as bytes behind a connection, and makes DoFns as it
likes. So decoded shards belong to the process, and one is valid only while the
nonce in it equals the one that was last written to Beam's state.
"""

from __future__ import annotations

import itertools
import os
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jetbridge.kernels.failure import stage_error
from jetbridge.store import values

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from jetbridge.kernels.keyed import KeyedKernel

CACHE_BYTES = 256 << 20
"""How much of the shards' logs, as they are encoded, stays decoded in one process."""
_SMALL_BYTES = 256
"""How far the log of a shard grows in any case before it is written anew: there may be many shards with a few keys."""


@dataclass
class Shard:
    """One shard of a stage with state.

    Attributes:
        nonce: What Beam's state must hold for this copy to be true.
        state: The kernel's mapping.
        run: The run in which the counts and sequences count.
        version: How often it has changed.
        counts: What the stages of the segment received and emitted.
        sequences: The number of the next chunk for each sink, by name.
        base: The bytes of the log's first segment.
        grown: The bytes of the others.
        timers: The watermarks that timers wait for.
        ended: Whether the end of the input was worked off.
    """

    nonce: bytes = b""
    state: MutableMapping[Any, Any] = field(default_factory=dict)
    run: str = ""
    version: int = 0
    counts: dict[str, list[int]] = field(default_factory=dict)
    sequences: dict[str, int] = field(default_factory=dict)
    base: int = 0
    grown: int = 0
    timers: tuple[int, ...] = ()
    ended: bool = False

    def about(self) -> bytes:
        """All but the kernel's mapping, for Beam's state."""
        return values.encode(
            (
                self.nonce,
                self.run,
                self.version,
                self.counts,
                self.sequences,
                self.base,
                self.grown,
                self.timers,
                self.ended,
            )
        )

    @classmethod
    def from_about(cls, data: bytes) -> Shard:
        """A shard without its mapping, out of `about`."""
        nonce, run, version, counts, sequences, base, grown, timers, ended = values.decode(data)
        return cls(nonce, {}, run, version, counts, sequences, base, grown, timers, ended)


class ShardCache:
    """The decoded shards of this process, the least used of which leave."""

    def __init__(self) -> None:
        self._shards: OrderedDict[tuple[str, str, int], Shard] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._process, self._first, self._numbers = 0, b"", itertools.count()

    def nonce(self) -> bytes:
        """One that no process has ever given: random for the process, which may have been forked, and then counted."""
        if self._process != os.getpid():
            self._first, self._process = secrets.token_bytes(8), os.getpid()
        return self._first + next(self._numbers).to_bytes(8, "big")

    def get(self, place: tuple[str, str, int], nonce: bytes) -> Shard | None:
        """The shard, if the copy here is that of a nonce. It belongs to the caller until it is put back."""
        with self._lock:
            shard = self._shards.pop(place, None)
            if shard is None:
                return None
            self._bytes -= shard.base + shard.grown
            return shard if shard.nonce == nonce else None

    def put(self, place: tuple[str, str, int], shard: Shard) -> None:
        """Keep a shard."""
        with self._lock:
            old = self._shards.pop(place, None)
            self._bytes += shard.base + shard.grown - (0 if old is None else old.base + old.grown)
            self._shards[place] = shard
            while self._bytes > CACHE_BYTES and len(self._shards) > 1:
                _, gone = self._shards.popitem(last=False)
                self._bytes -= gone.base + gone.grown

    def records(self, run: str, kernel: KeyedKernel) -> int:
        """How many records the shards of a stage hold that are here."""
        stage = kernel.name
        with self._lock:
            return sum(
                kernel.records(shard.state) for (r, s, _), shard in self._shards.items() if (r, s) == (run, stage)
            )


SHARDS = ShardCache()


class ShardState:
    """A shard in Beam's state: a bag of segments and a cell about them."""

    def __init__(self, kernel: KeyedKernel, place: tuple[str, str, int], log: Any, about: Any) -> None:
        self._kernel = kernel
        self._place = place
        self._log = log
        self._about = about

    def load(self) -> Shard:
        """The shard as Beam's state has it."""
        data = self._about.read()
        if not data:
            return Shard(run=self._place[0], state=self._kernel.new_state())
        fresh = Shard.from_about(data)
        shard = SHARDS.get(self._place, fresh.nonce)
        if shard is None:
            shard = fresh
            shard.state = self._kernel.new_state()
            for segment in self._log.read():
                self._kernel.add(shard.state, *values.decode(segment))
        if shard.run != self._place[0]:
            # A job that starts from another one's snapshot counts for itself.
            shard.run, shard.version, shard.counts, shard.sequences = self._place[0], 0, {}, {}
        return shard

    def changed(self, shard: Shard, last: list[Any]) -> None:
        """Append what some calls of the kernel changed, each as the kernel's ``last``."""
        kernel = self._kernel
        if kernel.appends:
            for keys, items in last:
                self._append(shard, keys, items)
            return
        keys = set().union(*last)
        if shard.grown > max(shard.base, _SMALL_BYTES) or not shard.state:
            self.replaced(shard)
        else:
            self._append(shard, *kernel.changes(shard.state, list(keys)))

    def replaced(self, shard: Shard) -> None:
        """Write a shard's state anew."""
        self._log.clear()
        shard.base = shard.grown = 0
        if shard.state:
            segment = self._encoded(*self._kernel.entries(shard.state))
            self._log.add(segment)
            shard.base = len(segment)

    def save(self, shard: Shard) -> None:
        """Write what there is to know of it, and keep it for the next time."""
        shard.nonce = SHARDS.nonce()
        shard.version += 1
        self._about.write(shard.about())
        SHARDS.put(self._place, shard)

    def _append(self, shard: Shard, *changes: Any) -> None:
        segment = self._encoded(*changes)
        self._log.add(segment)
        if shard.base == 0:
            shard.base = len(segment)
        else:
            shard.grown += len(segment)

    def _encoded(self, *changes: Any) -> bytes:
        try:
            return values.encode(changes)
        except Exception as error:
            raise stage_error(self._kernel.kind, self._kernel.name, "storing its state", error) from error
