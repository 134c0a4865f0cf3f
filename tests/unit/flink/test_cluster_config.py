from __future__ import annotations

import json
import re

import pytest

from jetbridge_flink.cluster_config import flink_libraries, java_command, java_environment, write_config
from jetbridge_flink.layout import Layout
from jetbridge_flink.memory import Memory

SIZES = Memory(jobmanager_heap=256, taskmanager_heap=1024, network=96, managed=64)


@pytest.fixture
def layout(tmp_path):
    layout = Layout(tmp_path / 'a "home" with ä')
    layout.make()
    return layout


@pytest.fixture
def options(layout):
    """Flink's configuration, read as the YAML that it is: names and JSON strings."""
    write_config(layout, rpc=1234, rest=5678, slots=3, sizes=SIZES)
    lines = (layout.conf / "config.yaml").read_text(encoding="utf-8").splitlines()
    return {name: json.loads(value) for name, _, value in (line.partition(": ") for line in lines)}


def test_everything_is_told_to_listen_on_loopback(options):
    hosts = {name: value for name, value in options.items() if re.search("host|address$", name)}
    assert len(hosts) >= 6
    assert set(hosts.values()) == {"127.0.0.1"}


def test_paths_are_as_they_are(options, layout):
    assert options["state.checkpoints.dir"] == f"file://{layout.checkpoints}"
    assert options["state.savepoints.dir"] == f"file://{layout.savepoints}"
    assert options["rest.port"] == options["rest.bind-port"] == "5678"


def test_the_parts_of_the_memory_are_its_whole(options):
    parts = {name: int(value[:-1]) for name, value in options.items() if re.fullmatch(r"\d+m", value)}
    heap = parts["taskmanager.memory.framework.heap.size"] + parts["taskmanager.memory.task.heap.size"]
    assert heap == SIZES.taskmanager_heap
    once = [value for name, value in parts.items() if not name.endswith(".min")]
    assert sum(once) == SIZES.taskmanager


def test_javas_commands(layout):
    for name, heap in (("jobmanager", "-Xmx256m"), ("taskmanager", "-Xmx1024m")):
        command = java_command(
            name, layout, layout.home / "java", [layout.home / "a.jar", layout.home / "b.jar"], SIZES
        )
        assert command[0] == str(layout.home / "java")
        assert heap in command
        assert command[-2:] == ["--configDir", str(layout.conf)]
        assert command[command.index("-cp") + 1] == f"{layout.home / 'a.jar'}:{layout.home / 'b.jar'}"


def test_javas_environment_has_nothing_that_changes_it(layout, monkeypatch):
    for name in ("JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "FLINK_CONF_DIR", "HADOOP_CONF_DIR"):
        monkeypatch.setenv(name, "-Dcom.sun.management.jmxremote.port=9999")
    monkeypatch.setenv("MINE", "kept")
    environment = java_environment(layout)
    assert environment["MINE"] == "kept"
    assert not any("jmxremote" in value for value in environment.values())
    assert environment["FLINK_PLUGINS_DIR"] == str(layout.conf / "plugins")


def test_only_what_is_needed_of_flinks_libraries():
    names = [path.name for path in flink_libraries()]
    assert any(name.startswith("flink-dist-1.19.") for name in names)
    assert not any("table" in name or "scala" in name for name in names)
