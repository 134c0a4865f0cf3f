"""Pipelines that cannot be built: the error says what, where, what was got and what to do."""

from __future__ import annotations

import pytest

import jetbridge
from jetbridge import Pipeline, PipelineError, aggregations, sinks


def type_name(value):
    """An id without an address, for pytest-xdist."""
    return type(value).__name__


def numbers(items=(1, 2, 3)):
    return Pipeline.create().read_from(Pipeline.from_list("numbers", items))


class TestFunctions:
    """A non-callable or missing function."""

    @pytest.mark.parametrize(
        ("call", "operator"),
        [
            (lambda s, bad: s.map(bad), "map"),
            (lambda s, bad: s.filter(bad), "filter"),
            (lambda s, bad: s.flat_map(bad), "flat_map"),
            (lambda s, bad: s.group_by(bad), "group_by"),
            (lambda s, bad: s.aggregate(accumulator=bad, initial=0), "aggregate"),
            (lambda s, bad: s.group_by(str).aggregate(accumulator=bad, initial=0), "aggregate"),
            (lambda s, bad: s.rolling_aggregate(bad), "rolling_aggregate"),
            (lambda s, bad: s.apply(bad), "apply"),
        ],
        ids=["map", "filter", "flat_map", "group_by", "aggregate", "keyed-aggregate", "rolling_aggregate", "apply"],
    )
    @pytest.mark.parametrize("bad", [3, None, "upper", [len]], ids=type_name)
    def test_is_refused_where_it_is_given(self, call, operator, bad, says):
        with pytest.raises(PipelineError) as caught:
            call(numbers(), bad)
        says(caught, f"{operator} must be given a callable", repr(bad), f"({type(bad).__name__})")

    @pytest.mark.parametrize(
        ("call", "operator", "parameter"),
        [
            (lambda s: s.distinct(3), "distinct", "key_fn"),
            (lambda s: s.sort(3), "sort", "key_fn"),
            (lambda s: s.aggregate(accumulator=max, initial=0, combiner=3), "aggregate", "combiner"),
            (lambda s: s.aggregate(accumulator=max, initial=0, finisher=3), "aggregate", "finisher"),
        ],
        ids=["distinct", "sort", "combiner", "finisher"],
    )
    def test_optional_ones_too(self, call, operator, parameter, says):
        with pytest.raises(PipelineError) as caught:
            call(numbers())
        says(caught, operator, parameter, "3 (int)")

    def test_an_operation_is_checked_too(self, says):
        with pytest.raises(PipelineError) as caught:
            aggregations.AggregateOperation(create=int, accumulate=None)
        says(caught, "accumulate", "function", "None")

    def test_an_operation_and_arguments(self):
        with pytest.raises(PipelineError, match=r"^aggregate\(operation\) takes no initial"):
            numbers().aggregate(aggregations.counting(), initial=1)
        with pytest.raises(PipelineError, match=r"^rolling_aggregate\(operation\) takes no initial"):
            numbers().rolling_aggregate(aggregations.counting(), initial=1)

    @pytest.mark.parametrize("initial", [1, "x", [1]], ids=type_name)
    def test_an_initial_that_is_not_neutral(self, initial, says):
        with pytest.raises(PipelineError) as caught:
            numbers().aggregate(accumulator=lambda a, x: a, initial=initial, combiner=lambda a, b: a + b)
        says(caught, "neutral", repr(initial), repr(initial + initial))

    def test_a_combiner_that_raises_on_initial(self, says):
        with pytest.raises(PipelineError) as caught:
            numbers().aggregate(accumulator=lambda a, x: x, combiner=lambda a, b: a + b)
        says(caught, "combiner", "None", "TypeError")

    @pytest.mark.parametrize("bad", [3, str, "x", None], ids=type_name)
    def test_apply_beam_takes_ptransforms(self, bad, says):
        with pytest.raises(PipelineError) as caught:
            numbers().apply_beam(bad)
        says(caught, "apply_beam", "PTransform", repr(bad))

    def test_apply_must_return_a_stage(self, says):
        with pytest.raises(PipelineError) as caught:
            numbers().apply(lambda stage: None)
        says(caught, "apply", "return a stage", "None")


class TestGraphs:
    @pytest.mark.parametrize(
        "bad",
        [3, None, "numbers", [1, 2], Pipeline.from_list],
        ids=type_name,
    )
    def test_read_from_takes_sources(self, bad, says):
        with pytest.raises(PipelineError) as caught:
            Pipeline.create().read_from(bad)
        says(caught, "read_from", "source", f"({type(bad).__name__})")

    @pytest.mark.parametrize("bad", [3, None, "results", Pipeline.to_list], ids=type_name)
    def test_write_to_takes_sinks(self, bad, says):
        with pytest.raises(PipelineError) as caught:
            numbers().write_to(bad)
        says(caught, "write_to", "sink", f"({type(bad).__name__})")

    @pytest.mark.parametrize("bad", [3, None, "abc", "", b"abc", bytearray(b"abc"), {"a": 1}], ids=type_name)
    def test_from_list_takes_items(self, bad, says):
        with pytest.raises(PipelineError) as caught:
            Pipeline.from_list("numbers", bad)
        says(caught, "numbers", repr(bad), f"({type(bad).__name__})")

    @pytest.mark.parametrize(
        "make",
        [
            lambda name: Pipeline.from_list(name, []),
            Pipeline.from_map,
            jetbridge.ListSource,
            Pipeline.to_list,
            Pipeline.to_map,
        ],
        ids=["from_list", "from_map", "ListSource", "to_list", "to_map"],
    )
    @pytest.mark.parametrize("name", [None, 3, "", b"x"], ids=type_name)
    def test_a_structures_name_is_a_text(self, make, name, says):
        with pytest.raises(PipelineError) as caught:
            make(name)
        says(caught, "name", repr(name), f"({type(name).__name__})")

    def test_a_stage_attached_to_another_pipeline(self, says):
        mine, other = numbers(), numbers().map(str).set_name("foreign")
        with pytest.raises(PipelineError) as caught:
            mine.merge(other)
        says(caught, "merge", "foreign", "another pipeline")

    @pytest.mark.parametrize("bad", [3, None, "stage"], ids=type_name)
    def test_merge_takes_stages(self, bad, says):
        with pytest.raises(PipelineError) as caught:
            numbers().merge(bad)
        says(caught, "merge", "stage", repr(bad))

    def test_merge_of_nothing(self):
        with pytest.raises(PipelineError, match="merge"):
            numbers().merge()

    def test_an_empty_pipeline(self, jet, says):
        with pytest.raises(PipelineError) as caught:
            jet.submit(Pipeline.create())
        says(caught, "no source", "read_from")

    def test_a_pipeline_without_a_sink(self, jet, says):
        pipeline = Pipeline.create()
        pipeline.read_from(Pipeline.from_list("numbers", [1])).map(str).set_name("shown")
        with pytest.raises(PipelineError) as caught:
            jet.submit(pipeline)
        says(caught, "no sink", "shown", "write_to")

    def test_a_dangling_stage(self, jet, says):
        pipeline = Pipeline.create()
        stage = pipeline.read_from(Pipeline.from_list("numbers", [1]))
        stage.write_to(Pipeline.to_list(jet.list().name))
        stage.map(str).set_name("forgotten")
        with pytest.raises(PipelineError) as caught:
            jet.submit(pipeline)
        says(caught, "forgotten", "write_to")

    def test_the_same_sink_object_twice(self, says):
        stage, sink = numbers(), Pipeline.to_list("results")
        stage.write_to(sink)
        with pytest.raises(PipelineError) as caught:
            stage.map(str).write_to(sink)
        says(caught, "results", "already", "merge")

    @pytest.mark.parametrize(
        "make", [lambda: Pipeline.to_list("same"), lambda: Pipeline.to_map("same")], ids=["list", "map"]
    )
    def test_the_same_structure_twice(self, make, says):
        stage = numbers()
        stage.write_to(make())
        with pytest.raises(PipelineError) as caught:
            stage.map(str).write_to(make())
        says(caught, "same", "already")

    def test_the_same_file_twice(self, folder, says):
        stage = numbers()
        stage.write_to(sinks.text(str(folder / "out.txt")))
        with pytest.raises(PipelineError) as caught:
            stage.map(str).write_to(sinks.text(str(folder / "out.txt")))
        says(caught, "out.txt", "already")

    def test_a_list_and_a_map_of_one_name_are_two(self):
        stage = numbers()
        names = [stage.write_to(sink).name for sink in (Pipeline.to_list("same"), Pipeline.to_map("same"))]
        assert names == ["same", "same-2"]

    @pytest.mark.parametrize("bad", [None, 3, "pipeline", Pipeline], ids=type_name)
    def test_submit_takes_pipelines(self, jet, bad, says):
        with pytest.raises(PipelineError) as caught:
            jet.service.submit(bad)
        says(caught, "submit", "Pipeline", f"got {bad!r}")

    def test_a_stage_is_no_pipeline(self, jet, says):
        with pytest.raises(PipelineError) as caught:
            jet.service.submit(numbers())
        says(caught, "submit", "Pipeline", "BatchStage")
