"""Items and settings that cannot be: the error says what, where, what was got and what to do."""

from __future__ import annotations

import pytest

from jetbridge import JobConfig, Pipeline, PipelineError, ProcessingGuarantee, aggregations
from jetbridge.errors import ConfigError


class TestItems:
    @pytest.mark.parametrize("item", [3, None, "ab", "abc", [1, 2], (1,), (1, 2, 3), {"a": 1}], ids=repr)
    def test_an_item_that_is_no_pair_goes_to_no_map(self, jet, item, says, fails):
        target = jet.map()
        caught = fails([("fine", 1), item], lambda stage: stage, sink=Pipeline.to_map(target.name))
        says(caught, target.name, repr(item), "(key, value)")
        assert caught.value.stage == target.name
        assert target.size() == 0

    @pytest.mark.parametrize("key", [[1], {"a": 1}, {1}, bytearray(b"x")], ids=repr)
    def test_a_maps_key_that_cannot_be_hashed(self, jet, key, says, fails):
        target = jet.map()
        caught = fails([(key, 1)], lambda stage: stage, sink=Pipeline.to_map(target.name))
        says(caught, target.name, "key", type(key).__name__)

    @pytest.mark.parametrize(
        "items",
        [[1, "a"], [None, 1], [1, 2j], [{"a": 1}, {"a": 2}], [b"a", "a"], ["a", *range(10_000)]],
        ids=["int-str", "none", "complex", "dicts", "bytes-str", "many"],
    )
    def test_sort_on_mixed_types(self, jet, items, says, fails):
        caught = fails(items, lambda stage: stage.sort().set_name("order"))
        says(caught, "order", "not supported between", "key_fn")
        for kind in {type(item).__name__ for item in items}:
            says(caught, kind)

    def test_sort_on_mixed_keys(self, jet, says, fails):
        caught = fails([1, 2], lambda s: s.sort(key_fn=lambda n: n if n == 1 else "two").set_name("order"))
        says(caught, "order", "int", "str", "key_fn")

    @pytest.mark.parametrize(
        ("build", "operator"),
        [
            (lambda s: s.distinct(), "distinct"),
            (lambda s: s.distinct(lambda n: n), "distinct"),
            (lambda s: s.group_by(lambda n: n), "group_by"),
            (lambda s: s.group_by(lambda n: n).aggregate(accumulator=lambda a, n: a, initial=0), "aggregate"),
            (lambda s: s.group_by(lambda n: n).aggregate(aggregations.counting()), "aggregate"),
            (
                lambda s: s.group_by(lambda n: n).aggregate(accumulator=lambda a, n: a, initial=0, combiner=max),
                "aggregate",
            ),
        ],
        ids=["distinct", "distinct-key", "group_by", "fold", "operation", "combined"],
    )
    @pytest.mark.parametrize("item", [[1], {"a": 1}, {1}, ([1],)], ids=repr)
    def test_a_key_that_cannot_be_hashed(self, jet, build, operator, item, says, fails):
        caught = fails([item], build)
        says(caught, operator, repr(item), "hashable", type(item).__name__)

    @pytest.mark.parametrize(
        "build",
        [
            lambda s: s.distinct(),
            lambda s: s.group_by(lambda n: n),
            lambda s: s.group_by(lambda n: (n, 1)).aggregate(aggregations.counting()),
        ],
        ids=["distinct", "group_by", "counting"],
    )
    @pytest.mark.parametrize("item", [2j, range(3), len, object], ids=repr)
    def test_a_key_that_cannot_be_encoded(self, jet, build, item, says, fails):
        caught = fails([1], lambda s: build(s.map(lambda n: item)))
        says(caught, "key must be one of", type(item).__name__)

    def test_an_unhashable_item_among_many(self, jet, says, fails):
        caught = fails([*range(10_000), [1]], lambda s: s.distinct())
        says(caught, "[1]", "key_fn")

    def test_items_of_one_key_that_do_not_add_up(self, jet, says, fails):
        caught = fails([1, "a"], lambda s: s.aggregate(accumulator=lambda a, x: a + x, initial=0))
        says(caught, "aggregate", "'a'", "TypeError")


class TestConfig:
    def test_an_unknown_field(self, says):
        with pytest.raises((ConfigError, ValueError)) as caught:
            JobConfig(nam="job")
        says(caught, "nam")

    def test_an_unknown_field_later(self, says):
        config = JobConfig()
        with pytest.raises((ConfigError, ValueError)) as caught:
            config.snapshot_interval = 3
        says(caught, "snapshot_interval")

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("snapshot_interval_millis", -1),
            ("snapshot_interval_millis", 0),
            ("snapshot_interval_millis", "soon"),
            ("processing_guarantee", "SOMETIMES"),
            ("name", 3),
            ("name", ""),
            ("timeout_millis", -2),
            ("max_processor_accumulated_records", -5),
            ("arguments", 3),
        ],
    )
    def test_a_value_that_is_not_allowed(self, field, value, says):
        with pytest.raises(ConfigError) as caught:
            JobConfig(**{field: value})
        says(caught, field, repr(value))
        config = JobConfig()
        with pytest.raises(ConfigError) as caught:
            setattr(config, field, value)
        says(caught, field, repr(value))
        assert getattr(config, field) == getattr(JobConfig(), field), "the old value stays"

    @pytest.mark.parametrize("bad", [3, "job", {"name": "job"}], ids=repr)
    def test_submit_takes_a_job_config(self, jet, bad, says):
        pipeline = Pipeline.create()
        pipeline.read_from(Pipeline.from_list("n", [])).write_to(Pipeline.to_list("never"))
        with pytest.raises((ConfigError, PipelineError)) as caught:
            jet.service.submit(pipeline, bad)
        says(caught, "JobConfig", f"got {bad!r}")

    def test_guarantees_by_name(self):
        assert JobConfig(processing_guarantee="EXACTLY_ONCE").processing_guarantee is ProcessingGuarantee.EXACTLY_ONCE
