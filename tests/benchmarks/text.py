"""Text for the word count: generated once, the same on every machine, kept in the temp directory."""

import os
import random
import tempfile
from itertools import accumulate
from pathlib import Path

VOCABULARY = 50_000
SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]


def folder() -> Path:
    """Where the generated texts are kept."""
    path = Path(tempfile.gettempdir()) / f"jetbridge-benchmarks-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def text_file(size: int) -> Path:
    """A text of about ``size`` bytes with word frequencies as in a natural language (Zipf's law)."""
    path = folder() / f"text-{size}.txt"
    if path.exists():
        return path
    dice = random.Random(20_130_101)
    vocabulary = [_word(dice, rank) for rank in range(1, VOCABULARY + 1)]
    weights = list(accumulate(1 / rank for rank in range(1, VOCABULARY + 1)))
    staged = path.with_suffix(f".{os.getpid()}")
    with staged.open("w", encoding="ascii") as file:
        while file.tell() < size:
            drawn = iter(dice.choices(vocabulary, cum_weights=weights, k=10_000))
            lines = []
            while line := [word for _, word in zip(range(dice.randint(4, 16)), drawn, strict=False)]:
                lines.append(" ".join(line))
            file.write("\n".join(lines) + "\n")
    staged.rename(path)  # a run that was interrupted leaves no half of a text
    return path


def repeated(path: Path, times: int) -> str:
    """A glob that finds the same text several times, without storing it again."""
    copies = folder() / f"{path.stem}-x{times}"
    copies.mkdir(exist_ok=True)
    for number in range(times):
        link = copies / f"part-{number:02}.txt"
        if not link.exists():
            os.link(path, link)
    return str(copies / "part-*.txt")


def _word(dice: random.Random, rank: int) -> str:
    """A word; frequent ones are short, as in a language."""
    return "".join(dice.choices(SYLLABLES, k=1 + len(str(rank)) // 2)) + ("" if rank < 60 else dice.choice("nrst"))
