"""How what an optional part needs is installed: from where this jetbridge was."""

from __future__ import annotations

import json
from importlib import metadata
from urllib.parse import unquote, urlsplit


def install(extra: str) -> str:
    """The command that installs an extra.

    Example:
        >>> install("files").startswith("pip install '")
        True

    Args:
        extra: The extra's name, as in pyproject.toml.
    """
    # PEP 610: what was installed from a folder or a file has noted from which.
    try:
        noted = json.loads(metadata.distribution("jetbridge").read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, OSError, ValueError):
        noted = {}
    where = str(noted.get("url") or "")
    if not where:
        return f"pip install 'jetbridge[{extra}]'"
    if "dir_info" in noted:
        return f"pip install '{unquote(urlsplit(where).path)}[{extra}]'"
    return f"pip install 'jetbridge[{extra}] @ {where}'"
