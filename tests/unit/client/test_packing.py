"""The code that travels with a job: by value where it must, and with its file and lines."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import traceback

import pytest

from jetbridge import Pipeline, aggregations
from jetbridge.jobs.packing import pack, plan_of

SOURCE = """
def parity(n):
    return n % 2

def double(n):
    return 2 * n
"""
READ = """
import sys
from jetbridge.jobs.packing import unpack
payload = unpack(open(sys.argv[1], "rb").read())
operation = payload.plan.keyed[0].operation
print(operation.result(operation.fold(operation.create(), [1, 2, 3])))
"""


@pytest.fixture
def functions(tmp_path, monkeypatch):
    """A module that no other process could import."""
    path = tmp_path / "loaded_by_path.py"
    path.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("loaded_by_path", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "loaded_by_path", module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("make", "printed"),
    [
        (lambda m: aggregations.summing(m.double), "12"),
        (lambda m: aggregations.max_by(m.parity), "1"),
        (lambda m: aggregations.grouping_by(m.parity, aggregations.summing(m.double)), "{1: 8, 0: 4}"),
        (lambda m: aggregations.all_of(aggregations.mapping(m.double, aggregations.to_list())), "([2, 4, 6],)"),
        (lambda m: aggregations.all_of(n=aggregations.counting().and_then(m.double)), "{'n': 6}"),
    ],
    ids=["value", "closure", "nested", "tuple", "and_then"],
)
def test_functions_inside_of_operations_travel_by_value(functions, tmp_path, make, printed):
    pipeline = Pipeline.create()
    stage = pipeline.read_from(Pipeline.from_list("numbers", [1])).aggregate(make(functions))
    stage.write_to(Pipeline.to_list("results"))
    payload = tmp_path / "payload"
    payload.write_bytes(pack(pipeline.plan(), "run"))
    done = subprocess.run([sys.executable, "-c", READ, str(payload)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == printed


def travelled(pipeline, function):
    """A map's function as a worker has it."""
    plan = plan_of(pack(pipeline(function).plan(), "run"))
    [node] = [node for node in plan.nodes if node.kind == "map"]
    return node.functions["fn"]


def test_code_knows_its_file_and_line(pipeline):
    class Halver:
        def half(self, item):
            return [item // part for part in (0,)]

    def function(item):
        return (lambda: Halver().half(item))()

    copy = travelled(pipeline, function)
    assert copy is not function
    with pytest.raises(ZeroDivisionError) as caught:
        copy(1)
    frames = traceback.extract_tb(caught.value.__traceback__)[1:]
    assert {frame.filename for frame in frames} == {__file__}
    assert frames[-1].line == "return [item // part for part in (0,)]"
    assert function.__code__.co_firstlineno == copy.__code__.co_firstlineno
