"""Beam in a client's process: the logging there stays as it was."""

import subprocess
import sys

import pytest

_BEGIN = """
import logging, sys
from jetbridge.beam.loading import load_beam, unconfigured
load_beam()
from apache_beam.options.pipeline_options import PipelineOptions
"""


def _said(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", _BEGIN + code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_beam_configures_logging_by_itself():
    """What `unconfigured` is there for; should Beam stop doing it, both go."""
    assert _said("PipelineOptions(flags=[]); logging.getLogger('x').warning('look')") == "WARNING:x:look\n"


def test_neither_the_import_nor_options_configure_logging():
    said = _said("with unconfigured(): PipelineOptions(flags=[])\nassert not logging.getLogger().handlers")
    assert said == ""


@pytest.mark.parametrize("look", ["jetbridge_direct.epochs.check(plan)", "jetbridge_flink.launch.check(plan, 'NONE')"])
def test_a_look_at_the_users_transforms_configures_no_logging(look):
    said = _said(f"""
import apache_beam as beam, jetbridge_direct.epochs, jetbridge_flink.launch
from jetbridge import Pipeline
pipeline = Pipeline.create()
pipeline.read_from(Pipeline.from_list("in", [1])).apply_beam(beam.Map(str)).write_to(Pipeline.to_list("out"))
plan = pipeline.plan()
{look}
assert not logging.getLogger().handlers, logging.getLogger().handlers
""")
    assert said == ""


def test_warnings_in_between_are_shown_as_python_shows_them():
    said = _said("""
with unconfigured(), unconfigured():
    logging.getLogger("mine").warning("look here")
    logging.getLogger("mine").info("not here")
    logging.getLogger("jetbridge").warning("jetbridge shows this itself")
""")
    assert said == "look here\n"


def test_with_logging_of_the_users_own_nothing_is_shown_twice():
    said = _said("""
logging.basicConfig(format="mine: %(message)s")
with unconfigured():
    logging.getLogger("other").warning("look here")
""")
    assert said == "mine: look here\n"
