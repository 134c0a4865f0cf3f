"""The temporary folder that Beam makes for each pipeline."""

from pathlib import Path

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from jetbridge.beam.translate import new_pipeline


def test_an_empty_folder_goes():
    with new_pipeline(FnApiRunner(), PipelineOptions(flags=[])) as pipeline:
        folder = Path(pipeline.local_tempdir)
        assert folder.is_dir()
    assert not folder.exists()


def test_what_a_transform_left_there_stays_for_the_run():
    with new_pipeline(FnApiRunner(), PipelineOptions(flags=[])) as pipeline:
        jar = Path(pipeline.local_tempdir, "some.jar")
        jar.write_text("needed by the run")
    assert jar.read_text() == "needed by the run"
    jar.unlink()
    jar.parent.rmdir()
