"""``python -m jetbridge`` is the command ``jetbridge``."""

from __future__ import annotations

from jetbridge.cli import main

if __name__ == "__main__":
    main()
