"""Settings: from arguments, then the environment, then a file of the working directory."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    PyprojectTomlConfigSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from jetbridge.config import explain_one
from jetbridge.errors import ConfigError

if sys.version_info >= (3, 11):
    from tomllib import TOMLDecodeError
else:
    from tomli import TOMLDecodeError

_PREFIX = "JETBRIDGE_"


class Settings(BaseSettings):
    """What `jetbridge.connect` may be told; `load_settings` makes them.

    Each setting is looked for as an argument of ``connect``, then as an
    environment variable (``JETBRIDGE_PARALLELISM``), then in ``jetbridge.toml``
    and then in the table ``[tool.jetbridge]`` of ``pyproject.toml``, both in the
    working directory.

    Attributes:
        runner: The runner's name: what an installed package registers under the
            entry-point group ``jetbridge.runners``.
        home: The data folder.
        parallelism: How many cores a job uses; None for all.
        shards: Into how many shards keys are split: the most that a keyed stage
            can be spread over. It is fixed for a job's life.
        flink_url: The address of a Flink cluster's REST service.
    """

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        pyproject_toml_table_header=("tool", "jetbridge"),
    )

    runner: str = Field(default="direct", min_length=1)
    home: Path = Field(default=Path(".jetbridge"), validate_default=True)
    parallelism: int | None = Field(default=None, ge=1)
    shards: int = Field(default=128, ge=1, le=32768)
    flink_url: str | None = None

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
        parts = [
            f"setting {explain_one(details, Settings)} (from {_origin(str(details['loc'][0]), given)})"
            for details in error.errors(include_url=False)
        ]
        raise ConfigError("; ".join(parts)) from error
    except (TOMLDecodeError, OSError, AttributeError, TypeError) as error:  # the latter two: [tool] is no table
        raise ConfigError(f"{_broken_file()} cannot be read as settings: {error}") from error


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
