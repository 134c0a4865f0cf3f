"""Beam's runner jars (``jars.txt``), and the jar of a job, which is built here."""

from __future__ import annotations

import io
import zipfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from jetbridge.beam import jars
from jetbridge_flink.changes import changed_classes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

FLINK_VERSION = "1.19"
"""The minor version of Flink that the jars are made for."""

ENTRY_CLASS = "org.apache.beam.runners.flink.FlinkPipelineRunner"
"""The class in a job's jar that Flink is to run."""

_PIPELINE = "BEAM-PIPELINE/pipeline"  # where Beam's PortablePipelineJarUtils looks
_MANIFEST = f"Manifest-Version: 1.0\nMain-Class: {ENTRY_CLASS}\n\n"
_OWN = {
    "beam-runners-flink-": ("FlinkPipelineRunner", "FlinkPortableRunnerResult"),
    "beam-runners-java-job-service-": ("PortablePipelineJarUtils",),
}
"""The classes that a job's jar carries itself where the cluster has the jars: one reads the pipeline out of the jar
that it was loaded from, the others may only be used by classes of their own class loader."""


@cache
def table() -> tuple[jars.Jar, ...]:
    """The jars, in the order of the class path."""
    return jars.read_table(Path(__file__).with_name("jars.txt"))


def fetch(progress: Callable[[str], None] | None = None, *, folder: Path | None = None) -> list[Path]:
    """The files of the jars, in the order of the class path: see `jetbridge.beam.jars.fetch`.

    Args:
        progress: Is told in a line that something is downloaded.
        folder: Where they lie; Beam's own cache by default.

    Raises:
        ClusterError: When a jar cannot be downloaded, or a file does not have the right checksum.
    """
    return jars.fetch(table(), "Beam's runner for Flink", progress, folder=folder)


def thin_jar(out: Path, *, folder: Path | None = None) -> None:
    """Write a job's jar without a pipeline, for a cluster that has the runner's jars in its class path."""
    out.write_bytes(_build(fat=False, pipeline={}, files=fetch(folder=folder)))


def fat_jar(out: Path, *, folder: Path | None = None) -> None:
    """Write a job's jar without a pipeline, for a cluster that knows nothing of Beam: 58 MB."""
    out.write_bytes(_build(fat=True, pipeline={}, files=fetch(folder=folder)))


def job_jar(proto_json: bytes, options_json: bytes, *, fat: bool = False, files: Sequence[Path] | None = None) -> bytes:
    """A job's jar: what Flink is given to run.

    Args:
        proto_json: The pipeline's proto as JSON.
        options_json: Its options as JSON.
        fat: Whether it brings the runner's jars, for a cluster that does not have them.
        files: The runner's jars, as `fetch` gives them, if known.
    """
    pipeline = entries(proto_json, options_json)
    if files is None:
        files = fetch() if fat else _fetched()
    return _build(fat=fat, pipeline=pipeline, files=files)


def _build(*, fat: bool, pipeline: dict[str, bytes], files: Sequence[Path]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as jar:
        jar.writestr("META-INF/MANIFEST.MF", _MANIFEST)
        classes = _own_classes(tuple(files)) | (changed_classes(files) if fat else {})
        for name, content in (classes | pipeline).items():
            jar.writestr(name, content)
        for file in files if fat else ():
            jar.write(file, f"lib/{file.name}", zipfile.ZIP_STORED)  # Flink unpacks jars in there; they are compressed
    return out.getvalue()


def entries(proto_json: bytes, options_json: bytes) -> dict[str, bytes]:
    """What a job's jar tells Beam's runner about the job, by names in the jar."""
    return {
        "BEAM-PIPELINE/pipeline-manifest.json": b'{"defaultJobName": "pipeline"}',
        f"{_PIPELINE}/pipeline.json": proto_json,
        f"{_PIPELINE}/pipeline-options.json": options_json,
    }


def all_among(class_path: Iterable[str]) -> bool:
    """Whether a class path has each of the runner's jars, in the release that jobs are made for."""
    names = {path.rpartition("/")[2] for path in class_path}
    return all(jar.file in names for jar in table())


@cache
def _fetched() -> tuple[Path, ...]:
    return tuple(fetch())


@cache
def _own_classes(files: tuple[Path, ...]) -> dict[str, bytes]:
    found = {}
    for prefix, names in _OWN.items():
        [file] = [file for file in files if file.name.startswith(prefix)]
        with zipfile.ZipFile(file) as source:
            for entry in source.namelist():
                if entry.endswith(".class") and any(name in entry for name in names):
                    found[entry] = source.read(entry)
    return found
