"""Benchmarks: every contender of a job in one run, on the same data, each in a process of its own.

    python tests/benchmarks/run.py                         everything at full size (about 40 minutes on two cores)
    python tests/benchmarks/run.py --jobs a,b --scale 0.1  two jobs on a tenth of the data
    python tests/benchmarks/run.py --jobs q1,q2,q5,q7,q8,counts   queries of Nexmark
    python tests/benchmarks/run.py --jobs cold,flat        the first result, and memory as the input grows
    python tests/benchmarks/run.py --jobs guarantees,lifecycle,latency,sustained,sessions,sliding   streams
    python tests/benchmarks/run.py --jobs flink-batch,flink-stream,flink-start,flink-latency   on Flink
    python tests/benchmarks/run.py --jobs flink-auctions   queries of Nexmark on Flink
    python tests/benchmarks/run.py --jobs flink-soak --seconds 600
    python tests/benchmarks/run.py --jobs hazelcast        maps of a Hazelcast cluster

Jobs: a map, filter, flat_map; b sum by key, 100 keys; c sum by key, many keys;
d fold without a combiner; e distinct; f sort; g word count; q1, q2, q5, q7, q8 and
counts: queries of Nexmark on the events of examples/nexmark; cold: the first
result of a script and a second job; flat: memory on once and ten times the input;
guarantees: what each costs, on a stream and on a batch; lifecycle: suspend, resume,
export a snapshot, list jobs; latency: from publish to sink at 10,000 items/s;
sustained: a stream's backlog with a running sum of 10,000 keys, exactly once; sessions: speed and
memory of session windows of 100,000 and of 1,000,000 keys that are all open at once, exactly once;
sliding: counts in windows of sixty steps against tumbling ones.

hazelcast, only when named: 1,000,000 small entries from a map of a Hazelcast member that it
starts through a filter and a map into another map, against the Python client by hand.

On Flink, only when named, on a cluster that jetbridge starts: flink-batch: the
jobs a and b, on jetbridge and as hand-written Beam with the same guarantee, and
on PyFlink, which gets a virtual environment in the user's cache folder; flink-stream:
running sums of 100 and of 1,000,000 keys, exactly once, from a stored stream that
was filled in advance and from a source that costs next to nothing; flink-auctions: the
queries of Nexmark on jetbridge, as hand-written Beam and on PyFlink, in Flink's batch mode;
flink-start: first and second jobs, suspend, resume, export; flink-latency: from publish to sink at
1,000 items/s; flink-soak: the memory of each process under a checkpoint each 200 ms; flink-sliding: as sliding.
Their seconds are those from the first item read to the last result in its sink,
and "whole" goes from submit to the job's end.

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
from dataclasses import asdict

import extras
import report
import streams
from clusters import maps
from flink import suite
from jobs import JOBS
from launch import CONTENDERS, Contender, RunFailed, measure

EXTRAS = ("cold", "flat", "guarantees", "lifecycle", "latency", "sustained", "sessions", "sliding")


def main() -> int:
    """Measure what was asked for and print it."""
    arguments = _arguments()
    contenders = [CONTENDERS[name] for name in arguments.contenders if name in CONTENDERS]
    for contender in contenders:
        if not contender.installed:
            print(f"{contender.name} is left out: {contender.package} is not installed", file=sys.stderr)
    collected: dict[str, object] = {"machine": report.machine(), "scale": arguments.scale}
    if not arguments.json:
        print(report.machine())
    shown: list[report.Sheet] = []
    for letter in arguments.jobs:
        try:
            if letter in suite.NAMES:
                collected[letter], tables = _on_flink(letter, arguments)
            elif letter == maps.NAME:
                collected[letter], tables = _on_hazelcast(arguments)
            else:
                collected[letter], table = _measured(letter, contenders, arguments.scale, arguments.repeat)
                tables = [table]
        except RunFailed as error:
            print(error, file=sys.stderr)
            return 1
        if not arguments.json:
            for table in tables:
                report.show(table, markdown=arguments.markdown)
        shown += tables
    if arguments.json:
        print(json.dumps(collected, indent=2))
    elif in_short := report.summary(shown):
        report.show(in_short, markdown=arguments.markdown)
    return 0


def _on_flink(name: str, arguments: argparse.Namespace) -> tuple[object, list[report.Sheet]]:
    """The figures of a benchmark on Flink, for JSON and as tables."""
    if missing := suite.missing():
        print(f"{name} is left out: {missing} is not installed; it comes with the extra flink", file=sys.stderr)
        return None, []
    names = [name for name in arguments.contenders if name in suite.CONTENDER_NAMES]
    return suite.measured(name, names, arguments.scale, arguments.repeat, arguments.seconds)


def _on_hazelcast(arguments: argparse.Namespace) -> tuple[object, list[report.Sheet]]:
    """The figures of the benchmark on Hazelcast, for JSON and as a table."""
    if missing := maps.missing():
        print(
            f"{maps.NAME} is left out: {missing} is not installed; it comes with the extra hazelcast", file=sys.stderr
        )
        return None, []
    rows = maps.measured(arguments.scale, arguments.repeat)
    return maps.as_dicts(rows), [report.clusters(rows)]


def _measured(name: str, contenders: list[Contender], scale: float, repeat: int) -> tuple[object, report.Sheet]:
    """The figures of one job or extra, for JSON and as a table."""
    match name:
        case "cold":
            seconds = extras.first_and_second(repeat)
            return seconds, report.first_results(seconds)
        case "flat":
            peaks = extras.flatness(scale)
            return peaks, report.flatness(peaks)
        case "guarantees":
            costs = streams.guarantees(scale, repeat)
            return [asdict(cost) for cost in costs], report.guarantees(costs)
        case "lifecycle":
            calls = streams.lifecycle(scale, repeat)
            return calls, report.lifecycle(calls)
        case "latency":
            delays = streams.latency(scale, repeat)
            return delays, report.latency(delays)
        case "sessions":
            opened = streams.sessions(scale, repeat)
            return opened, report.sessions(opened)
        case "sliding":
            overlaps = streams.sliding(scale, repeat, "direct")
            return overlaps, report.sliding("Direct", overlaps)
        case "sustained":
            rows = streams.sustained(contenders, scale, repeat)
            return [row.as_dict() for row in rows], report.rates("A sustained stream, exactly once", rows)
    able = [contender for contender in contenders if contender.installed and name in contender.jobs]
    rows = measure(JOBS[name], able, scale, repeat)
    return [row.as_dict() for row in rows], report.rates(report.title(name), rows)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--jobs", type=_names([*JOBS, *EXTRAS, *suite.NAMES, maps.NAME]), default=[*JOBS, *EXTRAS], metavar="a,b,..."
    )
    everybody = list(dict.fromkeys([*CONTENDERS, *suite.CONTENDER_NAMES]))
    parser.add_argument("--contenders", type=_names(everybody), default=everybody, metavar="loop,beam,...")
    parser.add_argument("--scale", type=float, default=1.0, help="the part of the full input (default 1)")
    parser.add_argument("--repeat", type=int, default=3, help="timed runs of each contender (default 3)")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long flink-soak takes (default 600)")
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
