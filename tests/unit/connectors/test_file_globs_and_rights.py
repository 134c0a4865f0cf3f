from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import fsspec
import pytest

import jetbridge
from jetbridge import sinks, sources
from jetbridge.connectors import files
from jetbridge.connectors.conformance import check_source
from jetbridge.errors import JetbridgeError, PipelineError, SinkError, SourceError

ALL_SOURCES = [sources.text, sources.csv, sources.json_lines, sources.parquet]
ALL_SINKS = [sinks.text, sinks.csv, sinks.json_lines, sinks.parquet]
ROOT = os.path.dirname(os.path.dirname(jetbridge.__file__))


@pytest.fixture
def tree(tmp_path):
    for name in ("b.txt", "a.txt", "deep/er/c.txt", "deep/d.txt", ".hidden.txt", "other.log"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{name}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("*.txt", ["a.txt", "b.txt"]),
        ("[b-z].txt", ["b.txt"]),
        ("?.txt", ["a.txt", "b.txt"]),
        ("*", ["a.txt", "b.txt", "other.log"]),
        ("**/*.txt", ["a.txt", "b.txt", "deep/d.txt", "deep/er/c.txt"]),
        ("deep/*/c.txt", ["deep/er/c.txt"]),
        (".h*", [".hidden.txt"]),
        (".hidden.txt", [".hidden.txt"]),
    ],
)
def test_each_file_that_matches_is_a_partition(tree, read_all, glob, expected):
    source = sources.text(tree / glob)
    assert source.partitions() == [str(tree / name) for name in expected]
    assert sorted(read_all(source)) == sorted(expected)
    assert source.name == os.path.basename(glob)


def test_a_path_that_exists_is_no_glob(tmp_path, read_all):
    (tmp_path / "data[1].txt").write_text("one\n")
    (tmp_path / "data1.txt").write_text("other\n")
    assert read_all(sources.text(tmp_path / "data[1].txt")) == ["one"]


def test_paths_are_resolved_where_the_pipeline_is_built(tree, monkeypatch, read_all):
    monkeypatch.chdir(tree)
    monkeypatch.setenv("HOME", str(tree / "deep"))
    near, home = sources.text("a.txt"), sources.text("~/d.txt")
    sink = sinks.text("out/x.txt")
    monkeypatch.chdir("/")
    assert read_all(near) == ["a.txt"]
    assert read_all(home) == ["deep/d.txt"]
    assert sink.path == str(tree / "out" / "x.txt")


def test_a_url_is_read_through_fsspec():
    system = fsspec.filesystem("memory")
    lines = [f"line {number}" for number in range(300)]
    try:
        for name in ("2.txt", "1.txt"):
            system.pipe(f"/jetbridge-test/{name}", "".join(f"{line}\n" for line in lines).encode())
        check_source(lambda: sources.text("memory://jetbridge-test/*.txt"), expected=lines * 2)
        with pytest.raises(SourceError, match="matches no file"):
            sources.text("memory://jetbridge-test/*.csv").check()
    finally:
        system.rm("/jetbridge-test", recursive=True)
    with pytest.raises(SourceError, match="nosuch"):
        sources.text("nosuch://a/b").check()


def test_the_files_are_found_anew_after_close(tree, context):
    source = sources.text(tree / "*.txt")
    source.open(context)
    assert len(source.partitions()) == 2
    (tree / "c.txt").write_text("c\n")
    assert len(source.partitions()) == 2
    source.close()
    assert len(source.partitions()) == 3


@pytest.mark.parametrize("make", ALL_SOURCES)
def test_what_cannot_be_found_is_an_error_that_names_the_glob(tree, make):
    kind = f"sources.{make.__name__}"
    for path, message in (
        ("missing.txt", "does not exist"),
        ("*.csv", "matches no file"),
        ("nowhere/*.txt", f"matches no file: there is no directory {tree}/nowhere"),
        ("deep", rf"is a directory; name its files with a glob: '{tree}/deep/\*'"),
        ("d*p", "matches only directories or hidden files"),
    ):
        with pytest.raises(SourceError, match=message) as caught:
            make(tree / path).check()
        assert str(caught.value).startswith(f"{kind}({str(tree / path)!r})")


def test_a_file_that_vanishes_is_an_error(tree):
    source = sources.text(tree / "a.txt")
    (path,) = source.partitions()
    (tree / "a.txt").unlink()
    with pytest.raises(SourceError, match=r"a\.txt: the file does not exist any more"):
        source.read(path, 0, 10)


@pytest.mark.parametrize("make", ALL_SOURCES + ALL_SINKS)
@pytest.mark.parametrize("path", [None, 3, "", ["a.txt"], b"a.txt"])
def test_what_is_no_path_is_refused_at_once(make, path):
    with pytest.raises(PipelineError, match="must be given a path"):
        make(path)


# Rights mean nothing to root, so these run as another user, in a process that gives root up before it looks.
_AS_ANOTHER_USER = """
import os, sys
sys.path.insert(0, {root!r})
from jetbridge import sources, sinks
import fsspec, importlib.util
import fsspec.implementations.local
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
from jetbridge.errors import JetbridgeError
try:
    {code}
except JetbridgeError as error:
    print(type(error).__name__, error)
"""


def _as_another_user(code: str) -> str:
    script = _AS_ANOTHER_USER.format(root=ROOT, code=code)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd="/", timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def foreign():
    """A tree that anybody may enter; pytest's own folders let nobody in."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        for name in ("b.txt", "a.txt", "deep/er/c.txt", "deep/d.txt"):
            path = Path(folder, name)
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            path.write_text(f"{name}\n")
        yield Path(folder)


@pytest.mark.parametrize("glob", ["*.txt", "d.txt", "er/c.txt", "**/*.txt"])
def test_a_directory_without_rights(foreign, glob):
    (foreign / "deep").chmod(0)
    try:
        message = _as_another_user(f"sources.text({str(foreign / 'deep' / glob)!r}).check()")
    finally:
        (foreign / "deep").chmod(0o755)
    assert message.startswith("SourceError")
    assert f"no permission to list or enter the directory {foreign / 'deep'}" in message


def test_a_file_without_rights(foreign):
    (foreign / "b.txt").chmod(0)
    message = _as_another_user(f"sources.text({str(foreign / '*.txt')!r}).check()")
    assert message.startswith("SourceError")
    assert f"no permission to read {foreign / 'b.txt'}" in message
    message = _as_another_user(f"sources.text({str(foreign / 'b.txt')!r}).read({str(foreign / 'b.txt')!r}, 0, 1)")
    assert message == f"SourceError {foreign / 'b.txt'}: no permission to read the file"


@pytest.mark.parametrize("name", ["out.txt", "new/folder/out.txt"])
def test_a_directory_that_may_not_be_written(foreign, name):
    (foreign / "deep").chmod(0o555)
    try:
        message = _as_another_user(f"sinks.text({str(foreign / 'deep' / name)!r}).check()")
    finally:
        (foreign / "deep").chmod(0o755)
    assert message.startswith("SinkError")
    assert f"no permission to write in the directory {foreign / 'deep'}" in message


def test_the_libraries_are_loaded_when_they_are_needed():
    code = (
        f"import sys; sys.path.insert(0, {ROOT!r}); import jetbridge.sources, jetbridge.sinks; "
        "jetbridge.sources.csv('a.csv'); jetbridge.sinks.parquet('a.parquet'); "
        "print([name for name in ('pyarrow', 'fsspec', 'numpy', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.parametrize(
    ("check", "library", "kind"),
    [
        (lambda folder: sources.text(folder / "a.txt").check(), "fsspec", SourceError),
        (lambda folder: sources.csv(folder / "a.txt").check(), "pyarrow", SourceError),
        (lambda folder: sources.parquet(folder / "a.txt").check(), "pyarrow", SourceError),
        (lambda folder: sinks.parquet(folder / "new.parquet").check(), "pyarrow", SinkError),
        (lambda folder: sinks.parquet(folder / "new.parquet").prepare([{"a": 1}]), "pyarrow", SinkError),
    ],
)
def test_a_missing_library_is_an_error_that_says_how_to_get_it(tree, monkeypatch, check, library, kind):
    find_spec = files.importlib.util.find_spec
    monkeypatch.setattr(files.importlib.util, "find_spec", lambda name: None if name == library else find_spec(name))
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(kind, match=rf"needs {library}, which is not installed: pip install '.*\[files\]"):
        check(tree)


def test_every_error_of_a_library_becomes_one_of_ours(tree):
    with (
        pytest.raises(JetbridgeError, match=r"x\.txt: the file cannot be read, .*\(ZeroDivisionError"),
        files.reading("x.txt"),
    ):
        raise ZeroDivisionError("division by zero")
