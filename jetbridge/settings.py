"""Settings: from arguments, then the environment, then a file of the working directory."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    PyprojectTomlConfigSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)
from typing_extensions import Self

from jetbridge.config import explain_one
from jetbridge.errors import ConfigError

if sys.version_info >= (3, 11):
    from tomllib import TOMLDecodeError
else:
    from tomli import TOMLDecodeError

_PREFIX = "JETBRIDGE_"
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.1
_NOT_SHOWN = {"flink_headers", "hazelcast"}  # in errors: they hold passwords


class Settings(BaseSettings):
    """What `jetbridge.connect` may be told; `load_settings` makes them.

    Each setting is looked for as an argument of ``connect``, then as an
    environment variable (``JETBRIDGE_PARALLELISM``), then in ``jetbridge.toml``
    and then in the table ``[tool.jetbridge]`` of ``pyproject.toml``, both in the
    working directory.

    Example:
        >>> from jetbridge.settings import load_settings
        >>> load_settings(parallelism=2, runner="direct").parallelism
        2

    Attributes:
        runner: The runner's name: what an installed package registers under the
            entry-point group ``jetbridge.runners``.
        home: The data folder.
        parallelism: How many cores a job uses; None for all, on a Flink cluster elsewhere for all free slots.
        shards: Into how many shards keys are split: the most that a keyed stage
            can be spread over. It is fixed for a job's life.
        flink_url: The address of a Flink cluster's REST service: jobs run there, and no cluster is started.
        flink_headers: HTTP headers that are sent to it, such as ``{"Authorization": "Bearer ..."}``; in the
            environment a JSON object.
        flink_ca: A PEM file with the certificates that vouch for it, instead of the system's. One that has signed
            itself vouches for itself.
        flink_certificate: A PEM file with the certificate and the key that this client shows to it.
        flink_checkpoints: The folder of checkpoints and savepoints, as a path or a ``file:`` address, which the
            cluster and this machine both see under that path; in the data folder by default.
        flink_worker_pool: Where each TaskManager finds its pool of Python workers, as host:port.
        flink_worker_command: The program that each TaskManager starts for a Python worker instead, by its path.
        flink_jars: Beam's job-server jar for the cluster's version of Flink, when that is not the one that
            jetbridge has jars for.
        hazelcast: Options of ``hazelcast.HazelcastClient``, such as ``{"cluster_members": ["10.0.0.5:5701"]}``: names
            of lists, maps and streams mean structures of that cluster; in the environment a JSON object. An
            empty one is for a cluster on this machine.
    """

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        pyproject_toml_table_header=("tool", "jetbridge"),
    )

    runner: str = Field(default="direct", min_length=1)
    home: Path = Field(default=Path(".jetbridge"), validate_default=True)
    parallelism: int | None = Field(default=None, ge=1)
    shards: int = Field(default=128, ge=1, le=32768)
    flink_url: str | None = None
    flink_headers: dict[str, SecretStr] = Field(default_factory=dict)
    flink_ca: Path | None = None
    flink_certificate: Path | None = None
    flink_checkpoints: Path | None = None
    flink_worker_pool: str | None = None
    flink_worker_command: str | None = None
    flink_jars: Path | None = None
    hazelcast: dict[str, Any] | None = None

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return Path(os.path.abspath(home.expanduser()))  # a later chdir does not move it

    @field_validator("flink_url")
    @classmethod
    def _is_address(cls, url: str | None) -> str | None:
        if url is not None and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
            raise ValueError("must be an address such as http://host:8081")
        return url

    @field_validator("flink_headers")
    @classmethod
    def _are_headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            text = value.get_secret_value()
            if not _HEADER.fullmatch(name) or not text.isascii() or not text.isprintable():
                raise ValueError("must be names and values of HTTP headers, in ASCII and each in one line")
        return headers

    @field_validator("flink_ca", "flink_certificate", "flink_jars")
    @classmethod
    def _is_file(cls, path: Path | None) -> Path | None:
        if path is None:
            return None
        path = Path(os.path.abspath(path.expanduser()))
        if not path.is_file():
            raise ValueError("must be the path of a file that is there")
        return path

    @field_validator("flink_checkpoints", mode="before")
    @classmethod
    def _is_folder(cls, folder: Any) -> Any:
        if not isinstance(folder, (str, Path)):
            return folder
        text = str(folder)
        if "://" in text or text.startswith("file:"):
            parts = urlsplit(text)
            if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not parts.path:
                raise ValueError("must be a folder or a file: address, since this machine reads there, too")
            text = unquote(parts.path)
        return Path(os.path.abspath(Path(text).expanduser()))

    @field_validator("flink_worker_pool")
    @classmethod
    def _is_pool(cls, pool: str | None) -> str | None:
        try:
            parts = urlsplit(f"//{pool}")
            right = pool is None or bool(parts.hostname and parts.port and parts.netloc == pool)
        except ValueError:
            right = False
        if not right:
            raise ValueError("must be host:port")
        return pool

    @model_validator(mode="after")
    def _one_kind_of_workers(self) -> Self:
        if self.flink_worker_pool is not None and self.flink_worker_command is not None:
            raise ValueError("flink_worker_pool and flink_worker_command are two ways to one thing: give one of them")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Tell pydantic-settings where to look, and in which order."""
        return (init_settings, env_settings, *_files(settings_cls))


def load_settings(**arguments: Any) -> Settings:
    """Settings from all places that they can come from.

    Example:
        >>> from jetbridge.settings import load_settings
        >>> load_settings(shards=16).shards
        16
        >>> load_settings(runner="")
        Traceback (most recent call last):
        jetbridge.errors.ConfigError: setting runner must have at least 1 character; got '' (from the argument runner)

    Args:
        **arguments: Settings by name; None means not given.

    Raises:
        ConfigError: For an unknown name or a value that is not allowed; the
            message says where it came from.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    for variable in os.environ:
        name = variable.removeprefix(_PREFIX).lower()
        if variable.startswith(_PREFIX) and name not in Settings.model_fields:
            raise ConfigError(
                f"there is no setting for the environment variable {variable}; "
                f"the settings are {', '.join(_PREFIX + field.upper() for field in Settings.model_fields)}"
            )
    try:
        return Settings(**given)
    except ValidationError as error:
        parts = [_explained(details, given) for details in error.errors(include_url=False)]
        raise ConfigError("; ".join(parts)) from error
    except SettingsError as error:  # of the environment; it does not say what it has read
        wrong = ", ".join(name for name in ("flink_headers", "hazelcast") if f'"{name}"' in str(error))
        raise ConfigError(
            f"setting {wrong} must be a JSON object (from {_origin(wrong, given)})" if wrong else str(error)
        ) from None
    except (TOMLDecodeError, OSError, AttributeError, TypeError) as error:  # the latter two: [tool] is no table
        raise ConfigError(f"{_broken_file()} cannot be read as settings: {error}") from error


def _explained(details: Any, given: dict[str, Any]) -> str:
    if not details["loc"]:
        return str(details["msg"]).removeprefix("Value error, ")
    name = str(details["loc"][0])
    if name in _NOT_SHOWN:
        details = {**details, "input": "what is not shown here"}
    return f"setting {explain_one(details, Settings)} (from {_origin(name, given)})"


def _files(settings: type[BaseSettings]) -> tuple[TomlConfigSettingsSource, TomlConfigSettingsSource]:
    return TomlConfigSettingsSource(settings, Path("jetbridge.toml")), PyprojectTomlConfigSettingsSource(settings)


def _origin(name: str, given: dict[str, Any]) -> str:
    if name in given:
        return f"the argument {name}"
    if os.environ.get(_PREFIX + name.upper()):
        return f"the environment variable {_PREFIX}{name.upper()}"
    own, _ = _files(Settings)
    if name in own.toml_data:
        return str(Path("jetbridge.toml").absolute())
    return f"[tool.jetbridge] of {Path('pyproject.toml').absolute()}"


def _broken_file() -> Path:
    try:
        TomlConfigSettingsSource(Settings, Path("jetbridge.toml"))
    except (TOMLDecodeError, OSError):
        return Path("jetbridge.toml").absolute()
    return Path("pyproject.toml").absolute()
