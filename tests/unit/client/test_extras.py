from __future__ import annotations

import json
from importlib import metadata

import pytest

from jetbridge import extras


@pytest.mark.parametrize(
    ("noted", "command"),
    [
        (None, "pip install 'jetbridge[files]'"),
        ("no JSON", "pip install 'jetbridge[files]'"),
        (
            json.dumps({"url": "file:///a%20b/jetbridge", "dir_info": {"editable": True}}),
            "pip install '/a b/jetbridge[files]'",
        ),
        (
            json.dumps({"url": "file:///w/jetbridge-0.1.0-py3-none-any.whl", "archive_info": {}}),
            "pip install 'jetbridge[files] @ file:///w/jetbridge-0.1.0-py3-none-any.whl'",
        ),
    ],
)
def test_an_extra_comes_from_where_jetbridge_came(monkeypatch, noted, command):
    class Installed:
        def read_text(self, name):
            return noted if name == "direct_url.json" else None

    monkeypatch.setattr(metadata, "distribution", lambda name: Installed())
    assert extras.install("files") == command


def test_a_jetbridge_that_is_not_installed(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    assert extras.install("flink") == "pip install 'jetbridge[flink]'"
