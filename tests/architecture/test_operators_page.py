"""The page of all operators is what the docstrings and the conformance suite's markers say now."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

SUITE = Path(__file__).parents[1] / "conformance"


@pytest.fixture(scope="module")
def reference():
    sys.path.insert(0, str(SUITE))
    try:
        yield importlib.import_module("reference")
    finally:
        sys.path.remove(str(SUITE))
        for name in ("reference", "support"):
            sys.modules.pop(name, None)


def test_the_page_is_what_it_would_be_now(reference):
    """Every operator is in it, with an example; whoever adds one without fails here."""
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), (
        "run python tests/conformance/reference.py --write"
    )


def test_an_operator_that_is_in_no_section_is_named(reference, monkeypatch):
    monkeypatch.setattr(reference, "SECTIONS", reference.SECTIONS[:-1])
    with pytest.raises(AssertionError, match=r"no section of the page has .*set_local_parallelism"):
        reference.operators()


def test_each_operator_is_there_once(reference):
    titles = [each.title for section in reference.operators().values() for each in section]
    assert len(titles) == len(set(titles)) >= 60


def test_links_lead_somewhere(reference):
    page = reference.page()
    anchors = {re.sub(r"[^\w-]", "", title.lower().replace(" ", "-")) for title in re.findall(r"^#+ (.*)$", page, re.M)}
    assert {target for target in re.findall(r"\]\(#(.*?)\)", page)} <= anchors
    for target in re.findall(r"\]\((?!#|https?:)(.*?)\)", page):
        assert (reference.PAGE.parent / target).exists(), target
