"""One measurement of streams, or on Flink, in a process of its own: started by launch.py, not by hand.

The first argument is the specification as JSON; what was measured is written
as JSON to the file that it names.
"""

import importlib
import json
import sys
from pathlib import Path


def main() -> None:
    """Let the module that the specification names measure."""
    spec = json.loads(sys.argv[1])
    measured = importlib.import_module(f"{spec.get('package', 'live')}.{spec['module']}").measure(spec)
    Path(spec["out"]).write_text(json.dumps(measured))


if __name__ == "__main__":
    main()
