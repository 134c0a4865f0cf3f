"""What tests of pipelines need: sources that do as they are told, sinks that check, and a run without an engine.

::

    from jetbridge import Pipeline, testing

    def test_shouting():
        pipeline = Pipeline.create()
        words = pipeline.read_from(testing.items("to", "be"))
        words.map(str.upper).write_to(testing.assert_ordered(["TO", "BE"]))
        testing.run_kernels(pipeline)

`run_kernels` needs no engine and takes milliseconds. With the ``jet`` fixture
of the pytest plugin, which comes with jetbridge, the same pipeline runs on a
real runner: ``jet.submit(pipeline)``; the test fails if the job does.
"""

from __future__ import annotations

from jetbridge.testing.asserting import (
    AssertionSink,
    assert_any_order,
    assert_contains,
    assert_eventually,
    assert_ordered,
)
from jetbridge.testing.bench import run_kernels
from jetbridge.testing.scripted import CRASH, PAUSE, ScriptedSource, idle, scripted, watermark
from jetbridge.testing.ticking import item_stream, items

__all__ = [
    "CRASH",
    "PAUSE",
    "AssertionSink",
    "ScriptedSource",
    "assert_any_order",
    "assert_contains",
    "assert_eventually",
    "assert_ordered",
    "idle",
    "item_stream",
    "items",
    "run_kernels",
    "scripted",
    "watermark",
]
