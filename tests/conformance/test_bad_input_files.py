"""Files that cannot be read: the error names the file and the place in it."""

from __future__ import annotations

import gzip
import os

import pytest

from jetbridge import JobFailedError, Pipeline, PipelineError, sources
from jetbridge.errors import SourceError

READ_SCRIPT = """
    import jetbridge
    from jetbridge import Pipeline, sources

    pipeline = Pipeline.create()
    try:
        with jetbridge.connect() as client:
            pipeline.read_from(sources.{source}).write_to(Pipeline.to_list("r"))
            client.get_jet().submit(pipeline).join(timeout=60)
    except jetbridge.JetbridgeError as error:
        print(type(error).__name__, error)
    """


class TestFiles:
    @pytest.mark.parametrize("make", [sources.text, sources.csv, sources.json_lines, sources.parquet])
    def test_a_missing_file(self, jet, folder, make, says):
        with pytest.raises(SourceError) as caught:
            jet.collect(make(str(folder / "nowhere.txt")))
        says(caught, str(folder / "nowhere.txt"))

    def test_a_glob_that_matches_nothing(self, jet, folder, says):
        with pytest.raises(SourceError) as caught:
            jet.collect(sources.text(str(folder / "*.txt")))
        says(caught, str(folder / "*.txt"), "no file")

    def test_a_folder(self, jet, folder, says):
        with pytest.raises(SourceError) as caught:
            jet.collect(sources.text(str(folder)))
        says(caught, str(folder))

    @pytest.mark.parametrize("bad", [None, 3, ""], ids=repr)
    def test_no_path(self, bad, says):
        with pytest.raises(PipelineError) as caught:
            sources.text(bad)
        says(caught, "text", repr(bad))

    def test_a_file_without_rights(self, script, runner, folder, without_rights):
        path = folder / "secret.txt"
        path.write_text("secret\n")
        path.chmod(0)
        source = READ_SCRIPT.format(source=f"text({str(path)!r})")
        done = script(source, env={"JETBRIDGE_RUNNER": runner}, before=without_rights)
        assert str(path) in done.stdout
        assert "permission" in done.stdout

    def test_a_directory_without_rights(self, script, runner, folder, without_rights):
        locked = folder / "locked"
        locked.mkdir()
        (locked / "a.txt").write_text("secret\n")
        locked.chmod(0)
        try:
            for pattern in ("a.txt", "*.txt"):
                source = READ_SCRIPT.format(source=f"text({str(locked / pattern)!r})")
                done = script(source, env={"JETBRIDGE_RUNNER": runner}, before=without_rights)
                assert str(locked) in done.stdout
                assert "permission" in done.stdout.lower()
        finally:
            locked.chmod(0o700)

    @pytest.mark.parametrize("kept", [5, 1_000], ids=["in-its-header", "in-its-body"])
    def test_a_truncated_gzip(self, jet, folder, kept, says, fails):
        path = folder / "a.txt.gz"
        path.write_bytes(gzip.compress(os.urandom(4_000).hex().encode())[:kept])
        caught = fails(sources.text(str(path)), lambda stage: stage)
        says(caught, str(path))
        assert any(word in str(caught.value) for word in ("damaged", "cut short", "truncated"))

    def test_no_gzip_at_all(self, jet, folder, says, fails):
        path = folder / "a.txt.gz"
        path.write_text("plain text")
        says(fails(sources.text(str(path)), lambda stage: stage), str(path))

    def test_a_csv_row_with_too_many_fields(self, jet, folder, says, fails):
        path = folder / "a.csv"
        path.write_text("a,b\n1,2\n3,4,5\n6,7\n")
        caught = fails(sources.csv(str(path)), lambda stage: stage)
        says(caught, str(path), "2", "3")
        assert "3,4,5" in str(caught.value) or "row" in str(caught.value) or "line" in str(caught.value)

    def test_a_broken_json_line(self, jet, folder, says, fails):
        path = folder / "a.jsonl"
        path.write_text('{"a": 1}\n{"a": \n')
        says(fails(sources.json_lines(str(path)), lambda stage: stage), str(path))

    def test_a_parquet_file_that_is_none(self, jet, folder, says):
        path = folder / "a.parquet"
        path.write_text("no parquet")
        pipeline = Pipeline.create()
        pipeline.read_from(sources.parquet(str(path))).write_to(Pipeline.to_list("r"))
        with pytest.raises((SourceError, JobFailedError)) as caught:
            jet.run(pipeline)
        says(caught, str(path))

    def test_text_that_is_no_utf8(self, jet, folder, says, fails):
        path = folder / "a.txt"
        path.write_bytes(b"fine\n\xff\xfe\n")
        says(fails(sources.text(str(path)), lambda stage: stage), str(path), "utf-8")
