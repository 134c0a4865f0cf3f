"""The classes of Beam's runner that jetbridge changes on their way into a class path: see `loopback` and `residuals`.

They lie in a small jar that comes first in the class path of the embedded cluster,
and in a job's jar when that brings the runner with it.
"""

from __future__ import annotations

import io
import os
import zipfile
from typing import TYPE_CHECKING

from jetbridge.errors import ClusterError
from jetbridge_flink import loopback, residuals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_CHANGES = (
    (loopback.JAR, loopback.CLASS, loopback.on_loopback),
    (residuals.JAR, residuals.CLASS, residuals.under_one_name),
)


def changed_jar(jars: Sequence[Path]) -> Path:
    """The jar with the changed classes, for the runner's jars; it lies beside them.

    Args:
        jars: The runner's jars, verified.

    Raises:
        ClusterError: When a class is not as expected, or the jar cannot be written.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as jar:
        for name, code in changed_classes(jars).items():
            jar.writestr(zipfile.ZipInfo(name), code)  # without a time: the same bytes whenever it is made
    source = _source(jars, loopback.JAR)
    path = source.with_name(f"jetbridge-changes-{source.name.removeprefix(loopback.JAR)}")
    try:
        if not path.exists() or path.read_bytes() != out.getvalue():
            aside = path.with_suffix(f".{os.getpid()}")
            aside.write_bytes(out.getvalue())
            aside.replace(path)
    except OSError as error:
        raise ClusterError(f"{path} cannot be written: {error.strerror}") from error
    return path


def changed_classes(jars: Sequence[Path]) -> dict[str, bytes]:
    """The classes that take the place of the runner's own, by their names in a jar.

    Raises:
        ClusterError: When they are not as expected.
    """
    found = {}
    for start, name, change in _CHANGES:
        with zipfile.ZipFile(_source(jars, start)) as archive:
            found[name] = change(archive.read(name))
    return found


def _source(jars: Sequence[Path], start: str) -> Path:
    return next(path for path in jars if path.name.startswith(start))
