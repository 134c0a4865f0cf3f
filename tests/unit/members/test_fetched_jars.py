from __future__ import annotations

import threading

import pytest

from jetbridge.beam import jars
from jetbridge.beam.jars import Jar
from jetbridge.errors import ClusterError

SMALL = Jar("org.jspecify:jspecify:1.0.0", "1fad6e6be7557781e4d33729d49ae1cdc8fdda6fe477bb0cc68ce351eafdfbab")  # 4 kB
OTHER = Jar("args4j:args4j:2.33", "91ddeaba0b24adce72291c618c00bbdce1c884755f6c4dba9c5c46e871c69ed6")


def fetch(which, progress=None, **where):
    return jars.fetch(which, "the tests' jars", progress, **where)


def test_a_jar_is_downloaded_once(tmp_path, capfd):
    said = []
    (tmp_path / "cache" / "download-abc").mkdir(parents=True)  # what a process that was killed leaves behind
    [path] = fetch([SMALL], said.append, folder=tmp_path / "cache")
    assert path.read_bytes()[:2] == b"PK"
    assert len(said) == 1
    assert "downloading the tests' jars: 1 jar to" in said[0]
    assert fetch([SMALL], said.append, folder=tmp_path / "cache") == [path]
    assert len(said) == 1
    assert sorted(p.name for p in path.parent.iterdir()) == [".jetbridge.lock", SMALL.file]
    assert "WARNING" not in capfd.readouterr().err  # Beam's, of public repositories


def test_of_two_at_once_one_downloads(tmp_path):
    said, found = [], []

    def fetch_both():
        found.append(fetch([SMALL, OTHER], said.append, folder=tmp_path))

    threads = [threading.Thread(target=fetch_both) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 2
    assert found[0] == found[1]
    assert len(said) == 1


def test_a_damaged_jar_is_refused_and_left_where_it_is(tmp_path):
    [good] = fetch([SMALL])
    content = bytearray(good.read_bytes())
    content[len(content) // 2] ^= 1
    path = tmp_path / SMALL.file
    path.write_bytes(content)
    with pytest.raises(ClusterError, match=rf"{SMALL.file} in .* is not what was published.*Delete it"):
        fetch([SMALL], folder=tmp_path)
    assert path.read_bytes() == content
    path.write_bytes(good.read_bytes())
    assert fetch([SMALL], folder=tmp_path) == [path]


def test_a_download_that_is_not_what_was_published_is_thrown_away(tmp_path):
    with pytest.raises(ClusterError, match=rf"{SMALL.coordinates} was downloaded, but is not what was published"):
        fetch([OTHER, Jar(SMALL.coordinates, "0" * 64)], folder=tmp_path)
    assert not (tmp_path / SMALL.file).exists()
    assert list(tmp_path.glob("download-*")) == []


def test_a_jar_that_cannot_be_downloaded(tmp_path):
    with pytest.raises(ClusterError, match=r"org.jspecify:jspecify:0.0.0 cannot be downloaded") as caught:
        fetch([Jar("org.jspecify:jspecify:0.0.0", "0" * 64)], folder=tmp_path)
    assert "404" in str(caught.value)


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ClusterError, match=r"jar cache .* cannot be written"):
        fetch([SMALL], folder=tmp_path / "file" / "jars")
