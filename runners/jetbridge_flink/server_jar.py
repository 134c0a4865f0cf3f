"""Beam's job-server jar as the user gives it, for a version of Flink that jetbridge has no jars for.

Such a jar has the runner and all that it needs in it. No job server is run: a job's
jar is that jar, and the pipeline in it.
"""

from __future__ import annotations

import io
import re
import zipfile
from typing import TYPE_CHECKING

from jetbridge.errors import ClusterError
from jetbridge_flink.jars import ENTRY_CLASS, entries

if TYPE_CHECKING:
    from pathlib import Path


def made_for(server: Path) -> str | None:
    """The minor version of Flink that a job-server jar is for, as far as its name tells.

    Example:
        >>> from pathlib import Path
        >>> made_for(Path("beam-runners-flink-1.18-job-server-2.70.0.jar"))
        '1.18'
    """
    found = re.search(r"flink[-_](\d+\.\d+)(?!\d)", server.name)
    return None if found is None else found[1]


def check(server: Path) -> None:
    """Refuse what is no job-server jar of Beam's runner for Flink.

    Raises:
        ClusterError: When it is none.
    """
    try:
        with zipfile.ZipFile(server) as jar:
            jar.getinfo(f"{ENTRY_CLASS.replace('.', '/')}.class")
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise ClusterError(
            f"{server} is not a job-server jar of Beam's runner for Flink ({error}): give the path of a "
            "beam-runners-flink-<version of Flink>-job-server-<release of Beam>.jar (flink_jars)"
        ) from error


def job_jar(server: Path, proto_json: bytes, options_json: bytes) -> bytes:
    """A job's jar: see `jetbridge_flink.jars.job_jar`.

    Raises:
        ClusterError: When the job-server jar cannot be read.
    """
    try:
        out = io.BytesIO()
        out.write(server.read_bytes())
        with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as jar:
            for name, content in entries(proto_json, options_json).items():
                jar.writestr(name, content)
    except (OSError, zipfile.BadZipFile) as error:
        raise ClusterError(f"{server} cannot be read: {error}") from error
    return out.getvalue()
