from __future__ import annotations

import datetime as dt

import pytest

from jetbridge import ConfigError, JobConfig, ProcessingGuarantee


def test_defaults():
    assert JobConfig().model_dump() == {
        "name": None,
        "processing_guarantee": ProcessingGuarantee.NONE,
        "snapshot_interval_millis": 10_000,
        "auto_scaling_enabled": True,
        "suspend_on_failure": False,
        "initial_snapshot_name": None,
        "split_brain_protection_enabled": False,
        "max_processor_accumulated_records": -1,
        "timeout_millis": -1,
        "metrics_enabled": True,
        "store_metrics_after_job_completion": True,
        "arguments": {},
    }


def test_fields_can_be_assigned():
    config = JobConfig(name="orders")
    config.initial_snapshot_name = "checkpoint-1"
    config.processing_guarantee = ProcessingGuarantee.EXACTLY_ONCE
    assert (config.name, config.initial_snapshot_name) == ("orders", "checkpoint-1")


def test_a_guarantee_may_be_its_name_and_a_time_a_timedelta():
    config = JobConfig(processing_guarantee="exactly_once", snapshot_interval_millis=dt.timedelta(seconds=1.5))
    assert config.processing_guarantee is ProcessingGuarantee.EXACTLY_ONCE
    assert config.snapshot_interval_millis == 1500


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", "", "name must have at least 1 character; got ''"),
        ("name", 5, "name must be a valid string; got 5"),
        ("processing_guarantee", "TWICE", "must be 'NONE', 'AT_LEAST_ONCE' or 'EXACTLY_ONCE'; got 'TWICE'"),
        ("snapshot_interval_millis", -1, "must be greater than or equal to 1; got -1"),
        ("snapshot_interval_millis", 0, "must be greater than or equal to 1; got 0"),
        ("snapshot_interval_millis", "10000", "must be a valid integer; got '10000'"),
        ("snapshot_interval_millis", True, "must be a valid integer; got True"),
        ("auto_scaling_enabled", "yes", "must be a valid boolean; got 'yes'"),
        ("max_processor_accumulated_records", -2, "must be greater than or equal to -1; got -2"),
        ("timeout_millis", 1.5, "must be a valid integer; got 1.5"),
        ("arguments", [1], "must be a valid dictionary"),
        ("arguments", {"a": {1, 2}}, "arguments.a"),
        ("guarantee", "NONE", "there is no 'guarantee' .* only name, processing_guarantee.*; did you mean"),
    ],
    ids=str,
)
def test_what_is_not_allowed(field, value, message):
    with pytest.raises(ConfigError, match=message) as caught:
        JobConfig(**{field: value})
    assert str(caught.value).startswith("JobConfig: ")
    assert isinstance(caught.value, ValueError)
    config = JobConfig()
    with pytest.raises(ConfigError, match=message):
        setattr(config, field, value)
    assert config == JobConfig(), "a refused assignment changes nothing"


def test_a_long_value_is_shortened():
    with pytest.raises(ConfigError) as caught:
        JobConfig(name=["x" * 10_000])
    assert len(str(caught.value)) < 400


def test_several_errors_are_told_at_once():
    with pytest.raises(ConfigError, match=r"name must.*timeout_millis must"):
        JobConfig(name=1, timeout_millis=-5)
