from __future__ import annotations

from pathlib import Path

import pytest

from jetbridge import ConfigError
from jetbridge.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"JETBRIDGE_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_defaults(folder):
    settings = load_settings()
    assert (settings.runner, settings.parallelism, settings.shards, settings.flink_url) == ("direct", None, 128, None)
    assert settings.home == folder / ".jetbridge"


def test_each_place_overrides_the_ones_after_it(folder, monkeypatch):
    (folder / "pyproject.toml").write_text("[tool.jetbridge]\nshards = 1\nparallelism = 1\nrunner = 'a'\nhome = 'p'\n")
    assert load_settings().shards == 1
    (folder / "jetbridge.toml").write_text("shards = 2\nparallelism = 2\nrunner = 'b'\n")
    assert load_settings().shards == 2
    monkeypatch.setenv("JETBRIDGE_SHARDS", "3")
    monkeypatch.setenv("JETBRIDGE_PARALLELISM", "3")
    assert load_settings().shards == 3
    settings = load_settings(shards=4)
    assert (settings.shards, settings.parallelism, settings.runner, settings.home) == (4, 3, "b", folder / "p")


def test_none_and_an_empty_variable_are_not_given(monkeypatch):
    monkeypatch.setenv("JETBRIDGE_PARALLELISM", "")
    assert load_settings(parallelism=None).parallelism is None
    monkeypatch.setenv("JETBRIDGE_PARALLELISM", "2")
    assert load_settings(parallelism=None).parallelism == 2


def test_the_data_folder_does_not_move_with_the_working_directory(folder, monkeypatch):
    settings = load_settings(home="data")
    monkeypatch.chdir("/")
    assert settings.home == folder / "data"
    assert load_settings(home="~/data").home == Path.home() / "data"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"shards": 0}, r"shards must be greater than or equal to 1; got 0 \(from the argument shards\)"),
        ({"shards": 40_000}, "shards must be less than or equal to 32768"),
        ({"parallelism": "many"}, "parallelism must be a valid integer.*; got 'many'"),
        ({"parallelism": 0}, "parallelism must be greater"),
        ({"home": 5}, "home is not a valid path"),
        ({"flink_url": "localhost"}, "flink_url must be an address such as http"),
        (
            {"paralelism": 2},
            r"^there is no setting 'paralelism' \(from the argument paralelism\), only runner, home, .*, hazelcast; "
            r"did you mean 'parallelism'\?$",
        ),
        ({"zzz": 2}, r"^there is no setting 'zzz' \(from the argument zzz\), only runner, home, .*, hazelcast$"),
    ],
    ids=str,
)
def test_bad_arguments(given, message):
    with pytest.raises(ConfigError, match=message):
        load_settings(**given)


def test_an_empty_home_is_no_folder(folder, monkeypatch):
    with pytest.raises(ConfigError, match="home must be a folder's path"):
        load_settings(home="")
    monkeypatch.setenv("JETBRIDGE_HOME", "")
    assert load_settings().home == folder / ".jetbridge"


def test_a_bad_variable_is_named(monkeypatch):
    monkeypatch.setenv("JETBRIDGE_SHARDS", "few")
    with pytest.raises(ConfigError, match=r"got 'few' \(from the environment variable JETBRIDGE_SHARDS\)"):
        load_settings()


def test_an_unknown_variable_is_named(monkeypatch):
    monkeypatch.setenv("JETBRIDGE_SHARD", "5")
    with pytest.raises(
        ConfigError, match=r"no setting for the environment variable JETBRIDGE_SHARD;.*JETBRIDGE_SHARDS"
    ):
        load_settings()


@pytest.mark.parametrize("line", ["shards = 'few'", "shard = 5"])
def test_a_bad_line_in_a_file_is_named(folder, line):
    (folder / "jetbridge.toml").write_text(line)
    with pytest.raises(ConfigError, match=str(folder / "jetbridge.toml")):
        load_settings()
    (folder / "jetbridge.toml").unlink()
    (folder / "pyproject.toml").write_text(f"[tool.jetbridge]\n{line}")
    with pytest.raises(ConfigError, match=rf"\[tool.jetbridge\] of {folder}/pyproject.toml"):
        load_settings()


@pytest.mark.parametrize("text", ["shards = ", "shards 5"])
@pytest.mark.parametrize("name", ["jetbridge.toml", "pyproject.toml"])
def test_a_file_that_is_no_toml_is_named(folder, name, text):
    (folder / name).write_text(text)
    with pytest.raises(ConfigError, match=f"{folder}/{name} cannot be read as settings"):
        load_settings()


@pytest.mark.parametrize("text", ["", "[tool.other]\nshards = 'x'", "[project]\nname = 'x'"])
def test_a_pyproject_of_others_does_not_matter(folder, text):
    (folder / "pyproject.toml").write_text(text)
    assert load_settings().shards == 128


def test_several_errors_are_told_at_once(monkeypatch):
    monkeypatch.setenv("JETBRIDGE_SHARDS", "0")
    with pytest.raises(ConfigError, match=r"parallelism.*the argument.*shards.*the environment variable"):
        load_settings(parallelism=0)


def test_a_remote_cluster(folder, monkeypatch):
    (folder / "ca.pem").write_text("")
    (folder / "jetbridge.toml").write_text(
        "flink_url = 'https://host:8081'\nflink_ca = 'ca.pem'\nflink_headers = {Authorization = 'Bearer a'}\n"
    )
    settings = load_settings(flink_checkpoints="file:///shared/a%20b", flink_worker_pool="localhost:50000")
    assert settings.flink_ca == folder / "ca.pem"
    assert settings.flink_headers["Authorization"].get_secret_value() == "Bearer a"
    assert settings.flink_checkpoints == Path("/shared/a b")
    assert settings.flink_worker_pool == "localhost:50000"
    monkeypatch.setenv("JETBRIDGE_FLINK_HEADERS", '{"X-Key": "secret"}')
    settings = load_settings(flink_checkpoints="shared", flink_worker_command="/opt/worker")
    assert settings.flink_headers["X-Key"].get_secret_value() == "secret"
    assert "secret" not in repr(settings)
    assert settings.flink_checkpoints == folder / "shared"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"flink_ca": "nowhere.pem"}, "flink_ca must be the path of a file that is there; got 'nowhere.pem'"),
        ({"flink_jars": "nowhere.jar"}, "flink_jars must be the path of a file that is there"),
        ({"flink_checkpoints": "s3://bucket/folder"}, "flink_checkpoints must be a folder or a file: address"),
        ({"flink_checkpoints": "file://other/folder"}, "flink_checkpoints must be a folder or a file: address"),
        ({"flink_worker_pool": "localhost"}, "flink_worker_pool must be host:port; got 'localhost'"),
        ({"flink_worker_pool": "http://localhost:1"}, "flink_worker_pool must be host:port"),
        ({"flink_worker_pool": "localhost:99999"}, "flink_worker_pool must be host:port"),
        ({"flink_worker_pool": "a:1", "flink_worker_command": "b"}, "two ways to one thing: give one"),
    ],
    ids=str,
)
def test_bad_settings_of_a_remote_cluster(given, message):
    with pytest.raises(ConfigError, match=message):
        load_settings(**given)


@pytest.mark.parametrize(
    "headers", ['{"A": ["hidden"]}', '{"A": "hidden\\nhidden"}', '{"A ": "hidden"}', "A: hidden", '"hidden"']
)
def test_headers_are_not_shown(headers, monkeypatch, caplog):
    monkeypatch.setenv("JETBRIDGE_FLINK_HEADERS", headers)
    with pytest.raises(ConfigError, match=r"flink_headers.*the environment variable JETBRIDGE_FLINK_HEADERS") as caught:
        load_settings()
    error = caught.value
    while error is not None:
        assert "hidden" not in f"{error} {error!r}"
        error = error.__cause__
