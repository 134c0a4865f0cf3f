"""Every example of docs/operators.md runs on the Direct runner, and gives there what the page says.

As doctests the same examples run by the kernels alone.
"""

from __future__ import annotations

import ast
import importlib
import sys
from itertools import count
from pathlib import Path

import pytest

import jetbridge
from jetbridge import JobStatus, Pipeline, testing
from jetbridge.plan.ends import SinkNode
from jetbridge.stages import SinkStage, StreamStage

SUITE = Path(__file__).parents[1] / "conformance"
sys.path.insert(0, str(SUITE))
reference = importlib.import_module("reference")
sys.path.remove(str(SUITE))
OPERATORS = [each for section in reference.operators().values() for each in section]
_numbers = count(1)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with jetbridge.connect(home=tmp_path_factory.mktemp("operators") / "home", parallelism=1, shards=8) as client:
        client.get_map("prices").put_all({"tea": 4, "cup": 9})
        client.get_map("airlines").put_all({"UA": "United"})
        yield client


@pytest.fixture
def by_a_job(client, monkeypatch, until):
    """Lets the examples' calls of ``run_kernels`` start jobs."""
    by_kernels = testing.run_kernels

    def run(stage):
        name = f"results of {next(_numbers)}"
        expected = by_kernels(stage)
        stage.write_to(Pipeline.to_list(name))
        # An example has other branches, too, which nothing reads.
        pipeline = stage._pipeline
        for node in pipeline._nodes:
            if not isinstance(node, SinkNode) and all(node.id not in each.inputs for each in pipeline._nodes):
                type(stage)(pipeline, node.id).write_to(Pipeline.to_list(f"branch {next(_numbers)}"))
        job = client.get_jet().submit(pipeline)
        if isinstance(stage, StreamStage):
            until(lambda: job.is_terminal() or client.get_list(name).size() >= len(expected), "the results")
            job.cancel()
        else:
            job.join(timeout=60)
        return client.get_list(name).get_all()

    monkeypatch.setattr(testing, "run_kernels", run)


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda each: each.title)
def test_an_example_on_the_direct_runner(operator, client, by_a_job):
    names = {"__name__": "__main__"}
    for example in operator.examples:
        shown = _shown(example.source, names)
        assert "".join(f"{value!r}\n" for value in shown) == example.want, example.source
        for stage in shown:
            if isinstance(stage, SinkStage):
                job = client.get_jet().submit(stage._pipeline)
                job.join(timeout=60)
                assert job.status is JobStatus.COMPLETED


def _shown(source, names):
    """What an interpreter would show behind a statement."""
    shown = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "displayhook", lambda value: value is not None and shown.append(value))
        exec(compile(ast.Interactive(ast.parse(source).body), "<example>", "single"), names)
    return shown
