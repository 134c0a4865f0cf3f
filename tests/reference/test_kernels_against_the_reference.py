"""The kernels, without an engine, against the interpreter: any chunks, any shards."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jetbridge import testing
from tests.reference.interpreter import Interpreter
from tests.reference.programs import counted, programs


@given(program=programs(), chunk=st.sampled_from([1, 2, 5, 4096]), shards=st.sampled_from([1, 3, 128]))
def test_random_programs(program, chunk, shards):
    pipeline, inputs = program.build()
    expected = Interpreter(pipeline.plan(), inputs).results()
    found = testing.run_kernels(pipeline, chunk=chunk, shards=shards)
    assert counted(found) == counted(expected)
