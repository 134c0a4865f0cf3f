"""The README's Python snippets run as they stand, in order, and print what it says they print."""

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What each snippet printed. All of them are one script, since a reader's session goes on from one to the next."""
    folder = tmp_path_factory.mktemp("readme")
    snippets = [text for language, text in BLOCKS if language == "python"]
    end = "---- end of a snippet ----"
    script = folder / "readme.py"
    script.write_text(f"\nprint({end!r}, flush=True)\n".join(snippets))
    done = subprocess.run(
        [sys.executable, script],
        cwd=folder,
        env={**os.environ, "JETBRIDGE_HOME": str(folder / "home"), "JETBRIDGE_PARALLELISM": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    outputs = [text.removeprefix("\n") for text in done.stdout.split(end)]
    assert len(outputs) == len(snippets)
    return dict(zip(snippets, outputs, strict=True))


def test_snippets_print_what_the_readme_says(printed):
    checked = 0
    for (language, snippet), (following, expected) in pairwise(BLOCKS):
        if language == "python" and following == "text":
            assert printed[snippet] == expected, f"after the snippet\n{snippet}"
            checked += 1
    assert checked == sum(language == "text" for language, _ in BLOCKS)


def test_it_opens_with_the_smallest_pipeline():
    assert [language for language, _ in BLOCKS[:3]] == ["python", "text", "bash"]
    assert len(BLOCKS[0][1].splitlines()) <= 15
    assert re.findall("make [a-z]+", BLOCKS[2][1]) == ["make demo", "make test"]


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), f"the README links to {target}, which is not there"
