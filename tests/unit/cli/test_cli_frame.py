"""Errors, exit codes, help, completion, and how quickly it starts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jetbridge.cli import app

NAMES = ["submit", "list", "show", "metrics", "logs", "suspend", "resume", "restart", "cancel", "snapshot", "snapshots"]


def test_the_commands_are_in_the_order_of_use():
    assert [each.name for each in app.registered_commands] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help_and_takes_a_data_folder(cli, name):
    out = cli(name, "--help").out
    assert "--home FOLDER" in out
    assert name == "submit" or "--json" in out


def test_the_readme_shows_commands_that_exist():
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    shown = set(re.findall(r"^\$ jetbridge ([a-z]+)", readme, flags=re.MULTILINE))
    assert shown
    assert shown <= set(NAMES)


def test_the_version(cli):
    import jetbridge

    assert cli("--version").out.strip() == jetbridge.__version__


@pytest.mark.parametrize("arguments", [["show"], ["list", "--what"], ["dance"], ["submit", "not-there.py"]])
def test_wrong_usage(cli, arguments):
    assert "Error: " in cli(*arguments, code=2).err


@pytest.mark.parametrize("name", ["show", "metrics", "logs", "suspend", "resume", "restart", "cancel"])
def test_no_such_job(cli, ended, name):
    error = cli(name, "nobody", "--home", ended, code=3).err
    assert error.count("\n") == 1
    assert error.startswith(f"jetbridge: there is no job 'nobody' in {ended}; its jobs: ")
    assert "'parser', 'speaker'" in error


@pytest.mark.parametrize("name", ["suspend", "resume", "restart", "cancel"])
def test_a_job_that_has_ended_cannot_be_steered(cli, ended, name):
    error = cli(name, "speaker", "--home", ended, code=1).err
    assert error.count("\n") == 1
    assert "is COMPLETED, which is its end" in error


def test_a_snapshot_of_a_job_that_has_ended(cli, ended):
    assert "is COMPLETED, which is its end" in cli("snapshot", "speaker", "s", "--home", ended, code=1).err
    assert "a/b" in cli("snapshot", "speaker", "a/b", "--home", ended, code=1).err
    assert "no snapshot 'never'" in cli("snapshots", "--destroy", "never", "--home", ended, code=1).err


def test_a_data_folder_that_is_none(cli, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    assert "is a file" in cli("list", "--home", tmp_path / "file", code=1).err
    monkeypatch.setenv("JETBRIDGE_NONSENSE", "1")
    assert "JETBRIDGE_NONSENSE" in cli("list", code=1).err


def complete(words, home):
    """What the shell is offered for the last word."""
    result = subprocess.run(
        [sys.executable, "-m", "jetbridge"],
        env={
            **os.environ,
            "_JETBRIDGE_COMPLETE": "complete_bash",
            "COMP_WORDS": " ".join(words),
            "COMP_CWORD": str(len(words) - 1),
            "JETBRIDGE_HOME": str(home),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.stderr == ""
    return result.stdout.split()


def test_completion(ended, tmp_path):
    assert set(complete(["jetbridge", "sh"], ended)) == {"show"}
    offered = complete(["jetbridge", "show", ""], ended)
    assert {"parser", "speaker"} < set(offered)
    assert len(offered) == 5  # two names, three ids
    assert complete(["jetbridge", "metrics", "pa"], ended) == ["parser"]
    assert complete(["jetbridge", "cancel", ""], ended) == []
    assert complete(["jetbridge", "show", ""], tmp_path / "none") == []


def test_the_option_counts_for_completion(ended, tmp_path):
    assert complete(["jetbridge", "show", "--home", str(ended), "pa"], tmp_path) == ["parser"]


LOADED = {
    *("annotated_doc", "annotated_types", "cloudpickle", "dotenv", "jetbridge", "psutil", "pydantic", "pydantic_core"),
    *("pydantic_settings", "shellingham", "typer", "typing_extensions", "typing_inspection"),
    *(("tomli",) if sys.version_info < (3, 11) else ()),
}
"""What commands that only look may load beside the standard library: each other package would make them slower."""


def test_it_loads_little(ended):
    code = "import sys; from jetbridge.cli import app; app(standalone_mode=False); print(*sys.modules)"
    arguments = [sys.executable, "-c", code, "list", "--all", "--json", "--home", str(ended)]
    out = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True).stdout
    loaded = {name.partition(".")[0] for name in out.splitlines()[-1].split()}
    own = {name for name in loaded if not name.startswith(("_", "sitecustomize"))} - sys.stdlib_module_names
    assert {"jetbridge", "typer"} <= own <= LOADED
