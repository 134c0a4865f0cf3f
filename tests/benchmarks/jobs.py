"""The jobs that every contender does: their functions, their sizes and how results are compared.

All contenders call the functions of this module, so that what is measured is
what happens between the calls.
"""

import hashlib
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MODULUS = 1_000_003


@dataclass(frozen=True)
class Case:
    """One run of a job: on which data, and with how many cores.

    Attributes:
        items: How many items there are; for the word count how many bytes.
        text: The path of the text (a glob) or of the events, empty for the jobs on integers.
        parallelism: How many cores a contender that asks may use.
    """

    items: int
    text: str = ""
    parallelism: int = 1

    @property
    def keys(self) -> int:
        """How many different keys the jobs with many keys have: every key comes five times."""
        return max(1, self.items // 5)


@dataclass(frozen=True)
class Job:
    """A job of the benchmark.

    Attributes:
        letter: What it is called on the command line.
        title: What it does.
        items: How much input at scale 1.
        ordered: Whether the order of the result belongs to the result.
        beam_share: The part of the input that hand-written Beam gets, which is compared per item.
    """

    letter: str
    title: str
    items: int
    ordered: bool = False
    beam_share: float = 0.04

    @property
    def on_events(self) -> bool:
        """Whether it is a query of Nexmark, on the events of an auction house."""
        return self.letter in QUERIES

    @property
    def on_text(self) -> bool:
        """Whether the input is a file of text, and its size one in bytes."""
        return self.letter == "g"


QUERIES = ("q1", "q2", "q5", "q7", "q8", "counts")
JOBS = {
    job.letter: job
    for job in (
        Job("a", "map, filter, flat_map", 5_000_000),
        Job("b", "sum by key, 100 keys", 5_000_000),
        Job("c", "sum by key, every key five times (1,000,000 keys)", 5_000_000),
        Job("d", "fold without a combiner, 100 keys", 5_000_000),
        Job("e", "distinct, every value five times", 5_000_000),
        Job("f", "sort", 2_000_000, ordered=True),
        Job("g", "word count of a text file", 200_000_000, beam_share=0.01),
        Job("q1", "Nexmark Q1: prices of bids in euros", 2_000_000),
        Job("q2", "Nexmark Q2: bids for some auctions", 2_000_000),
        Job("q5", "Nexmark Q5: hot items, in sliding windows", 1_000_000),
        Job("q7", "Nexmark Q7: highest bids, in tumbling windows", 1_000_000),
        Job("q8", "Nexmark Q8: new users, a join in windows", 1_000_000),
        Job("counts", "bids by auction, in tumbling windows", 1_000_000),
    )
}


def triple(x: int) -> int:
    """Job a: the map."""
    return x * 3


def keep(x: int) -> bool:
    """Job a: the filter, which keeps half."""
    return x % 2 == 0


def pair(x: int) -> tuple[int, int]:
    """Job a: the flat_map."""
    return (x, x + 1)


def key_100(x: int) -> int:
    """Jobs b and d: the key."""
    return x % 100


def key_of(keys: int) -> Callable[[int], int]:
    """Jobs c and e: the key, and the value that repeats; neighbours in the input are not neighbours in it."""

    def key(x: int) -> int:
        return (x * 7919) % keys

    return key


def add(total: int, x: int) -> int:
    """Jobs b and c: accumulator and combiner."""
    return total + x


def fold(total: int, x: int) -> int:
    """Job d: a fold whose partial results cannot be combined by it, though the order does not matter."""
    return (total + x * x) % MODULUS


def scatter(x: int) -> int:
    """Job f: an unsorted number for each index."""
    return (x * 2_654_435_761) % 4_294_967_296


def words(line: str) -> list[str]:
    """Job g: the words of a line."""
    return line.split()


def word_key(word: str) -> str:
    """Job g: the key."""
    return word


def count_items(job: Job, case: Case, result: Any) -> int:
    """How many items a run has handled: numbers, or words."""
    return sum(result.values()) if job.on_text else case.items


def digest(job: Job, result: Any) -> str:
    """A fingerprint of a result, the same for all contenders.

    Where the order is no part of the result (Beam promises none) the result is
    sorted first.
    """
    if isinstance(result, dict):
        pairs = sorted((str(key), int(value)) for key, value in result.items())
        data = "\n".join(f"{key} {value}" for key, value in pairs).encode()
    else:
        data = array("q", result if job.ordered else sorted(result)).tobytes()
    return f"{len(result)}:{hashlib.blake2b(data, digest_size=8).hexdigest()}"
