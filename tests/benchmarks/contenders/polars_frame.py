"""The jobs as Polars expressions: no Python functions and all cores, so for orientation only."""

from collections.abc import Callable
from typing import Any

import polars as pl
from jobs import Case


class Contender:
    """Runs the jobs that expressions can say; a fold of one's own (job d) is none."""

    def __init__(self, parallelism: int) -> None:
        pass

    def run(self, job: str, case: Case) -> Callable[[], Any]:
        """Do a job; the returned function gives its result."""
        frame = getattr(self, f"job_{job}")(case).collect()
        if frame.width == 2:
            return lambda: dict(frame.iter_rows())
        return lambda: frame.to_series().to_list()

    def close(self) -> None:
        """Nothing is open."""

    def _range(self, case: Case) -> Any:
        return pl.LazyFrame().select(x=pl.int_range(case.items, dtype=pl.Int64))

    def job_a(self, case: Case) -> Any:
        kept = self._range(case).select(pl.col("x") * 3).filter(pl.col("x") % 2 == 0)
        return kept.select(pl.concat_list(pl.col("x"), pl.col("x") + 1)).explode("x")

    def job_b(self, case: Case) -> Any:
        return self._range(case).group_by(key=pl.col("x") % 100).agg(pl.col("x").sum())

    def job_c(self, case: Case) -> Any:
        return self._range(case).group_by(key=(pl.col("x") * 7919) % case.keys).agg(pl.col("x").sum())

    def job_e(self, case: Case) -> Any:
        return self._range(case).select((pl.col("x") * 7919) % case.keys).unique()

    def job_f(self, case: Case) -> Any:
        return self._range(case).select((pl.col("x") * 2_654_435_761) % 4_294_967_296).sort("x")

    def job_g(self, case: Case) -> Any:
        lines = pl.scan_csv(case.text, has_header=False, new_columns=["line"], separator="\x01", quote_char=None)
        words = lines.select(pl.col("line").str.split(" ")).explode("line")
        return words.group_by("line").agg(pl.len())
