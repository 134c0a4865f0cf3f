"""Benchmarks: every contender of a job in one run, on the same data, each in a process of its own.

    python tests/benchmarks/run.py                         everything at full size (about half an hour)
    python tests/benchmarks/run.py --jobs a,b --scale 0.1  two jobs on a tenth of the data
    python tests/benchmarks/run.py --jobs cold,flat        the first result, and memory as the input grows

Jobs: a map, filter, flat_map; b sum by key, 100 keys; c sum by key, many keys;
d fold without a combiner; e distinct; f sort; g word count; cold: the first
result of a script and a second job; flat: memory on once and ten times the input.

Start-up (imports, connecting, a warm-up on 1,000 items) is excluded from the
seconds of all contenders alike; "whole process" includes it. Memory is the
sum of the PSS of a contender's processes, seen every 100 ms in a run that is
not timed (Linux only). Results are compared with the plain loop's. Beam gets
a part of the input and is compared per item.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable

import extras
import report
from jobs import JOBS
from launch import CONTENDERS, RunFailed, measure

EXTRAS = ("cold", "flat")


def main() -> int:
    """Measure what was asked for and print it."""
    arguments = _arguments()
    contenders = [CONTENDERS[name] for name in arguments.contenders]
    for contender in contenders:
        if not contender.installed:
            print(f"{contender.name} is left out: {contender.package} is not installed", file=sys.stderr)
    collected: dict[str, object] = {"machine": report.machine(), "scale": arguments.scale}
    if not arguments.json:
        print(report.machine())
    for letter in arguments.jobs:
        if letter in EXTRAS:
            collected[letter] = _extra(letter, arguments)
            continue
        able = [contender for contender in contenders if contender.installed and letter in contender.jobs]
        try:
            rows = measure(JOBS[letter], able, arguments.scale, arguments.repeat)
        except RunFailed as error:
            print(error, file=sys.stderr)
            return 1
        collected[letter] = [row.as_dict() for row in rows]
        if not arguments.json:
            report.show(report.title(letter), report.HEADINGS, report.job_cells(rows), markdown=arguments.markdown)
    if arguments.json:
        print(json.dumps(collected, indent=2))
    return 0


def _extra(name: str, arguments: argparse.Namespace) -> object:
    if name == "cold":
        seconds = extras.first_and_second(arguments.repeat)
        if not arguments.json:
            times = [(title, f"{best:.2f}", f"{median:.2f}") for title, best, median in seconds]
            report.show("First result", ("what", "best s", "median s"), times, markdown=arguments.markdown)
        return seconds
    peaks = extras.flatness(arguments.scale)
    if not arguments.json:
        cells = [(f"({job})", str(cores), f"{factor}x", report.megabytes(peak)) for job, cores, factor, peak in peaks]
        report.show("Peak memory", ("job", "cores", "input", "peak MB"), cells, markdown=arguments.markdown)
    return peaks


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=_names([*JOBS, *EXTRAS]), default=[*JOBS, *EXTRAS], metavar="a,b,...")
    parser.add_argument("--contenders", type=_names(CONTENDERS), default=list(CONTENDERS), metavar="loop,beam,...")
    parser.add_argument("--scale", type=float, default=1.0, help="the part of the full input (default 1)")
    parser.add_argument("--repeat", type=int, default=3, help="timed runs of each contender (default 3)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    form.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    return parser.parse_args()


def _names(known: Iterable[str]) -> Callable[[str], list[str]]:
    """An argparse type: names with commas between them, all of them known."""

    def parse(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",") if name.strip()]
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"no such name: {', '.join(unknown)}; there are {', '.join(known)}")
        return names

    return parse


if __name__ == "__main__":
    sys.exit(main())
