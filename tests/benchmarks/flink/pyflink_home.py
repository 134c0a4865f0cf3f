"""A virtual environment with PyFlink, which pins an old Apache Beam: made when it is first asked for, and kept."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = ("apache-flink>=1.20,<1.21", "setuptools<81")  # it imports pkg_resources, which newer ones lack
PYTHONS = ((3, 11), (3, 10))  # that it runs on
CHECK = "from pyflink.datastream import StreamExecutionEnvironment"
PATIENCE = 900.0  # seconds


def folder() -> Path:
    """Where it is or will be."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return cache / "jetbridge" / "bench-pyflink-1.20"


def python() -> str | None:
    """The environment's Python; None when the environment cannot be made, which is then said."""
    home = folder()
    executable, ready = home / "bin" / "python", home / "ready"
    if ready.exists():
        return str(executable)
    base = _base()
    if base is None:
        print("PyFlink is left out: it needs Python 3.10 or 3.11, and there is none", file=sys.stderr)
        return None
    print(f"installing PyFlink into {home} (some minutes, once)", file=sys.stderr)
    shutil.rmtree(home, ignore_errors=True)  # of an attempt that was ended
    pip = [str(executable), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    for command in ([base, "-m", "venv", str(home)], [*pip, *REQUIREMENTS], [str(executable), "-c", CHECK]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
            said = "" if done.returncode == 0 else (done.stderr.strip() or f"status {done.returncode}")
        except (OSError, subprocess.TimeoutExpired) as error:
            said = str(error)
        if said:
            print(f"PyFlink is left out, since it cannot be installed: {said[-1_000:]}", file=sys.stderr)
            shutil.rmtree(home, ignore_errors=True)
            return None
    ready.touch()
    return str(executable)


def _base() -> str | None:
    """A Python that PyFlink runs on: this one, or else the first that is found."""
    if sys.version_info[:2] in PYTHONS:
        return sys.executable
    found = (shutil.which(f"python{major}.{minor}") for major, minor in PYTHONS)
    return next((path for path in found if path), None)
