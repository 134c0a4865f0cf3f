"""A bounded job on PyFlink's DataStream API: run with the Python of `pyflink_home`, by suite.py, not by hand.

Flink runs in this process's Java, without checkpoints, and its functions in Python
workers (mode "process") or in the Java process itself (mode "thread"). The numbers
come from Flink's own source, and the results go to a file by Flink's own sink, so
that Python's part is the functions alone.
"""

import json
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:] = [str(HERE.parent), *(path for path in sys.path if Path(path).resolve() != HERE), str(HERE)]

import jobs  # noqa: E402
import pyflink_auctions  # noqa: E402 - by its bare name, as it is sent to the workers
from pyflink.common import Configuration, Encoder, Types, WatermarkStrategy  # noqa: E402
from pyflink.datastream import MapFunction, RuntimeExecutionMode, StreamExecutionEnvironment  # noqa: E402
from pyflink.datastream.connectors.file_system import FileSink  # noqa: E402
from pyflink.datastream.connectors.number_seq import NumberSequenceSource  # noqa: E402


def first_map(function, first):
    """A map that notes when it was opened, which is right before the first item; the function is called as it is."""

    class First(MapFunction):
        map = staticmethod(function)

        def open(self, context):
            path = Path(first)
            if not path.exists():
                path.write_text(str(time.monotonic()))

    return First()


def build(env, spec, first):
    """A query of Nexmark, or the job a or b."""
    if spec["job"] in jobs.QUERIES:
        return pyflink_auctions.rows(env, spec, first)
    numbers = env.from_source(
        NumberSequenceSource(0, spec["items"] - 1), WatermarkStrategy.no_watermarks(), "numbers", Types.LONG()
    )
    if spec["job"] == "a":
        tripled = numbers.map(first_map(jobs.triple, first), Types.LONG())
        return tripled.filter(jobs.keep).flat_map(jobs.pair, Types.LONG())
    pair_type = Types.TUPLE([Types.LONG(), Types.LONG()])
    keyed = numbers.map(first_map(keyed_pair, first), pair_type).key_by(lambda pair: pair[0], Types.LONG())
    return keyed.reduce(lambda left, right: (left[0], jobs.add(left[1], right[1])))


def keyed_pair(x):
    """A number with its key."""
    return jobs.key_100(x), x


def result(spec, folder):
    """What the job has written."""
    lines = (line for path in sorted(Path(folder).rglob("*")) if path.is_file() for line in path.read_text().split())
    if spec["job"] == "b":
        return {int(key): int(value) for key, value in (line.strip("()").split(",") for line in lines)}
    return [int(line) for line in lines]


def run(spec, folder):
    """One run in a new environment."""
    config = Configuration()
    config.set_string("python.execution-mode", spec["mode"])
    config.set_string("taskmanager.numberOfTaskSlots", str(spec["parallelism"]))
    env = StreamExecutionEnvironment.get_execution_environment(config)
    env.set_parallelism(spec["parallelism"])
    # In batch mode windows of Python workers come in parts: Flink goes on to the next key before they have answered.
    windows = spec["job"] in pyflink_auctions.TIMED
    env.set_runtime_mode(RuntimeExecutionMode.STREAMING if windows else RuntimeExecutionMode.BATCH)
    env.set_python_executable(sys.executable)
    env.add_python_file(str(HERE.parent / "jobs.py"))
    env.add_python_file(pyflink_auctions.__file__)
    first, out = Path(folder) / "first", Path(folder) / "out"
    start = time.monotonic()
    encoder = Encoder.simple_string_encoder()
    build(env, spec, str(first)).sink_to(FileSink.for_row_format(str(out), encoder).build())
    env.execute("benchmark")
    end = time.monotonic()
    return start, float(first.read_text()), end, result(spec, out)


def main():
    """Run, and write what was measured."""
    spec = json.loads(sys.argv[1])
    folder = Path(spec["out"]).parent
    start, first, end, found = run(spec, folder)
    measured = {
        "items": spec["items"],
        "seconds": {"net": end - first, "whole": end - start, "begin": first - start},
        "digest": jobs.digest(jobs.JOBS[spec["job"]], found),
        "end": end,
    }
    Path(spec["out"]).write_text(json.dumps(measured))


if __name__ == "__main__":
    main()
