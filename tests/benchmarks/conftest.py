"""The benchmark's own modules need contenders that are not installed for the tests: pytest leaves them alone."""

from pathlib import Path

collect_ignore = [
    "auctions",
    "clusters",
    "contenders",
    "flink",
    "live",
    *(path.name for path in Path(__file__).parent.glob("[!t]*.py")),
    "text.py",
]
