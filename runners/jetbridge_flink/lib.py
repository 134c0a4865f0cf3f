"""Puts Beam's runner into the class path of a Flink cluster: ``python -m jetbridge_flink.lib /opt/flink/lib``.

A cluster that has it is sent small jobs, which start sooner than those that bring it with them.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jetbridge.errors import JetbridgeError
from jetbridge_flink import jars
from jetbridge_flink.changes import changed_jar

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST = "a-"
"""Flink takes the jars of its folder in the order of their names."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Copy the jars into a folder; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m jetbridge_flink.lib", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="the folder lib of a Flink installation")
    folder = parser.parse_args(arguments).folder
    try:
        files = jars.fetch(print)
        changed = changed_jar(files)
        for file in files:
            shutil.copyfile(file, folder / file.name)
        shutil.copyfile(changed, folder / f"{FIRST}{changed.name}")
    except (JetbridgeError, OSError) as error:
        print(f"the jars cannot be copied to {folder}: {error}", file=sys.stderr)
        return 1
    print(f"{len(files) + 1} jars copied to {folder}: do so for each JobManager and TaskManager, and start them again")
    return 0


if __name__ == "__main__":
    sys.exit(main())
