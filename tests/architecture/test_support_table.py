"""The README says of each runner what the conformance suite's markers say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

SUPPORT = Path(__file__).parents[1] / "conformance" / "support.py"


def test_the_readme_has_the_table_that_the_suite_gives():
    spec = importlib.util.spec_from_file_location("conformance_support", SUPPORT)
    support = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(support)
    assert support.in_readme() == support.table(), "run python tests/conformance/support.py --write"
