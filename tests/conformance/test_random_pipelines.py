"""Pipelines put together at random, on a runner, against the readable semantics in tests/reference."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from jetbridge.plan.ends import SinkNode
from tests.reference.interpreter import Interpreter
from tests.reference.programs import counted, programs

EXAMPLES = {"direct": 300, "flink": 10}
THOROUGH = {"direct": 10_000, "flink": 200}


def check(jet, until, program):
    pipeline, inputs = program.build()
    plan = pipeline.plan()
    reference = Interpreter(plan, inputs)
    expected = reference.results()
    lists = {node.name: jet.list(node.name) for node in plan.nodes if isinstance(node, SinkNode)}
    late = sum(len(items) for (_, kind), items in reference.aside.items() if kind == "late_items")
    job = jet.submit(pipeline)

    def late_ones():
        return sum(stage.late_count for stage in job.get_metrics().stages.values())

    if program.stream:
        until(lambda: all(len(lists[name]) >= len(items) for name, items in expected.items()))
        until(lambda: late_ones() >= late)
        job.cancel()
    else:
        job.join(timeout=60)
    found = counted({name: stored.get_all() for name, stored in lists.items()})
    for stored in lists.values():
        stored.clear()
    assert found == counted(expected)
    assert late_ones() == late


def test_the_results_are_those_of_the_reference(jet, until, request):
    thorough = settings.default.max_examples >= 1000

    @settings(
        max_examples=(THOROUGH if thorough else EXAMPLES)[jet.runner],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        database=None,
    )
    @given(program=programs(most_items=40, most_steps=6))
    def run(program):
        check(jet, until, program)

    run()
