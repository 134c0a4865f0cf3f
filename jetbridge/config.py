"""JobConfig and the processing guarantees."""

from __future__ import annotations

import difflib
import enum
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
)

from jetbridge.errors import ConfigError

UNKNOWN = ("extra_forbidden", "no_such_attribute")
"""The types of details of validation errors that are about a name."""


class ProcessingGuarantee(enum.Enum):
    """What a failure may do to a job's results.

    Example:
        >>> from jetbridge import ProcessingGuarantee
        >>> print(ProcessingGuarantee.EXACTLY_ONCE)
        EXACTLY_ONCE
    """

    NONE = "NONE"
    """No snapshots: after a failure the job starts afresh, as a new run. State is held in memory alone."""
    AT_LEAST_ONCE = "AT_LEAST_ONCE"
    """Nothing is lost; after a failure items may be processed twice."""
    EXACTLY_ONCE = "EXACTLY_ONCE"
    """The results are those of a run without failures."""

    def __str__(self) -> str:
        return self.value


def _milliseconds(value: object) -> object:
    return value // timedelta(milliseconds=1) if isinstance(value, timedelta) else value


def _guarantee(value: object) -> object:
    return value.upper() if isinstance(value, str) and value.upper() in ProcessingGuarantee.__members__ else value


_Milliseconds = Annotated[StrictInt, BeforeValidator(_milliseconds)]


class JobConfig(BaseModel):
    """How a job is to run. Fields are checked when they are given and when they are assigned.

    Example:
        >>> from jetbridge import JobConfig, ProcessingGuarantee
        >>> config = JobConfig(name="orders", snapshot_interval_millis=5000)
        >>> config.processing_guarantee = ProcessingGuarantee.EXACTLY_ONCE
        >>> config.snapshot_interval_millis = -1
        Traceback (most recent call last):
        jetbridge.errors.ConfigError: JobConfig: snapshot_interval_millis must be greater than or equal to 1; got -1

    Attributes:
        name: The job's name, which no other active job may have; None for a job without one.
        processing_guarantee: What holds after a failure.
        snapshot_interval_millis: Time between automatic snapshots in milliseconds
            (or a ``timedelta``); without a guarantee there are none.
        auto_scaling_enabled: Whether the job may change its parallelism while it runs. On Flink a job with a guarantee
            that has less than it could use is stopped behind a savepoint and goes on with more when a TaskManager
            joins; one that leaves is survived either way. On the Direct runner it changes nothing: a job has its
            processes from the start, and those without work take no core.
        suspend_on_failure: Suspend the job when a user's function fails, instead of ending it.
        initial_snapshot_name: The named snapshot that the job starts from. It is a job of its own: what the first one
            wrote behind the snapshot, it writes again.
        split_brain_protection_enabled: Run only while a majority of the cluster is there. It always holds: the Direct
            runner is one process, and a cluster of Flink has one JobManager that decides, so neither can fall apart
            into two that both go on.
        max_processor_accumulated_records: A limit on the records that a stage collects; -1 for none.
        timeout_millis: How long the job may run in milliseconds (or a ``timedelta``), without the time for which
            it is suspended; -1 or 0 for ever.
        metrics_enabled: Whether `Job.get_metrics` has figures.
        store_metrics_after_job_completion: Whether it has them when the job has ended.
        arguments: Values of your own that travel with the job; values that JSON has. Its connectors and services find
            them as ``context.arguments`` in what they are opened with.

    Raises:
        ConfigError: For a field that does not exist or a value that is not allowed.
    """

    model_config = ConfigDict(validate_assignment=True, extra="forbid")

    name: StrictStr | None = Field(default=None, min_length=1)
    processing_guarantee: Annotated[ProcessingGuarantee, BeforeValidator(_guarantee)] = ProcessingGuarantee.NONE
    snapshot_interval_millis: _Milliseconds = Field(default=10_000, ge=1)
    auto_scaling_enabled: StrictBool = True
    suspend_on_failure: StrictBool = False
    initial_snapshot_name: StrictStr | None = Field(default=None, min_length=1)
    split_brain_protection_enabled: StrictBool = False
    max_processor_accumulated_records: StrictInt = Field(default=-1, ge=-1)
    timeout_millis: _Milliseconds = Field(default=-1, ge=-1)
    metrics_enabled: StrictBool = True
    store_metrics_after_job_completion: StrictBool = True
    arguments: dict[StrictStr, JsonValue] = Field(default_factory=dict)

    if not TYPE_CHECKING:  # type checkers see the fields as the constructor's parameters

        def __init__(self, **fields: Any) -> None:
            try:
                super().__init__(**fields)
            except ValidationError as error:
                raise ConfigError(f"JobConfig: {explain(error, type(self))}") from error

        def __setattr__(self, field: str, value: Any) -> None:
            try:
                super().__setattr__(field, value)
            except ValidationError as error:
                raise ConfigError(f"JobConfig: {explain(error, type(self))}") from error


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """A validation error in jetbridge's words: the field, what it must be, what was got.

    Args:
        error: The error.
        model: The model that raised it; its fields are listed when a name is unknown.
    """
    return "; ".join(explain_one(details, model) for details in error.errors(include_url=False))


def explain_one(details: Any, model: type[BaseModel]) -> str:
    """One of the details of a validation error in jetbridge's words."""
    name = ".".join(str(part) for part in details["loc"])
    got = f"got {_shortened(details['input'])}"
    if details["type"] in UNKNOWN:
        return unknown("", name or details["ctx"]["attribute"], got, model)
    message = details["msg"].removeprefix("Value error, ")
    for start, verb in (
        ("Input should be", "must be"),
        ("Input is", "is"),
        ("String should", "must"),
        ("must ", "must "),
    ):
        if message.startswith(start):
            return f"{name} {verb}{message.removeprefix(start)}; {got}"
    return f"{name}: {message}; {got}"


def unknown(what: str, name: str, about: str, model: type[BaseModel]) -> str:
    """That there is no field of a name, which fields there are, and which was meant.

    Example:
        >>> unknown("setting ", "nam", "got 3", JobConfig)  # doctest: +ELLIPSIS
        "there is no setting 'nam' (got 3), only name, ..., arguments; did you mean 'name'?"
    """
    near = difflib.get_close_matches(name, model.model_fields, 1)
    meant = f"; did you mean '{near[0]}'?" if near else ""
    return f"there is no {what}'{name}' ({about}), only {', '.join(model.model_fields)}{meant}"


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:197] + "..."
