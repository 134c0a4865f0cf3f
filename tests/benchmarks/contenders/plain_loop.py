"""A plain Python loop that calls the same functions: what the interpreter costs without any engine."""

import glob
from collections.abc import Callable
from typing import Any

import jobs
from jobs import Case


class Contender:
    """Runs the jobs as loops."""

    def __init__(self, parallelism: int) -> None:
        pass

    def run(self, job: str, case: Case) -> Callable[[], Any]:
        """Do a job; the returned function gives its result."""
        result = getattr(self, f"job_{job}")(case)
        return lambda: result

    def close(self) -> None:
        """Nothing is open."""

    def job_a(self, case: Case) -> list[int]:
        triple, keep, pair = jobs.triple, jobs.keep, jobs.pair
        out: list[int] = []
        for x in range(case.items):
            x = triple(x)
            if keep(x):
                out.extend(pair(x))
        return out

    def job_b(self, case: Case) -> dict[int, int]:
        return self._sums(case, jobs.key_100, jobs.add)

    def job_c(self, case: Case) -> dict[int, int]:
        return self._sums(case, jobs.key_of(case.keys), jobs.add)

    def job_d(self, case: Case) -> dict[int, int]:
        return self._sums(case, jobs.key_100, jobs.fold)

    def _sums(self, case: Case, key: Callable[[int], int], step: Callable[[int, int], int]) -> dict[int, int]:
        totals: dict[int, int] = {}
        for x in range(case.items):
            k = key(x)
            totals[k] = step(totals.get(k, 0), x)
        return totals

    def job_e(self, case: Case) -> list[int]:
        value = jobs.key_of(case.keys)
        seen: set[int] = set()
        out = []
        for x in range(case.items):
            x = value(x)
            if x not in seen:
                seen.add(x)
                out.append(x)
        return out

    def job_f(self, case: Case) -> list[int]:
        scatter = jobs.scatter
        return sorted([scatter(x) for x in range(case.items)])

    def job_g(self, case: Case) -> dict[str, int]:
        words, word_key = jobs.words, jobs.word_key
        counts: dict[str, int] = {}
        for path in sorted(glob.glob(case.text)):
            with open(path, encoding="utf-8") as file:
                for line in file:
                    for word in words(line):
                        k = word_key(word)
                        counts[k] = counts.get(k, 0) + 1
        return counts
