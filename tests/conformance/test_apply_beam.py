from __future__ import annotations

import pytest

from jetbridge import JobFailedError, Pipeline, PipelineError


@pytest.fixture
def beam():
    import apache_beam

    return apache_beam


@pytest.mark.parametrize("items", [[], [1], [None], [1, 2, 3]], ids=repr)
def test_a_stateless_transform_gets_items_not_chunks(jet, beam, items):
    results = jet.collect(items, lambda stage: stage.apply_beam(beam.Map(repr)).map(str.upper))
    assert sorted(results) == sorted(repr(item).upper() for item in items)


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_transform_that_groups_sees_all_items(jet, beam):
    results = jet.collect(
        range(20_000),
        lambda s: s.map(lambda n: (n % 3, n)).apply_beam(beam.CombinePerKey(sum)).map(lambda pair: pair[1]),
    )
    assert sorted(results) == sorted(sum(range(n, 20_000, 3)) for n in range(3))


def test_a_global_combine(jet, beam):
    assert jet.collect(range(10_000), lambda s: s.apply_beam(beam.CombineGlobally(sum))) == [sum(range(10_000))]


def test_a_composite_of_ones_own(jet, beam):
    class Doubled(beam.PTransform):
        def expand(self, items):
            return items | beam.Map(lambda x: x * 2) | beam.Filter(lambda x: x > 2)

    assert sorted(jet.collect([1, 2, 3], lambda stage: stage.apply_beam(Doubled()))) == [4, 6]


def test_a_dofn(jet, beam):
    class Twice(beam.DoFn):
        def process(self, item):
            yield item
            yield item

    assert sorted(jet.collect([1, 2], lambda stage: stage.apply_beam(beam.ParDo(Twice())))) == [1, 1, 2, 2]


@pytest.mark.parametrize("parallelism", [1, 2])
def test_keyed_stages_before_and_after(jet, beam):
    def build(stage):
        counts = stage.group_by(lambda n: n % 10).aggregate(accumulator=lambda n, _: n + 1, initial=0)
        doubled = counts.apply_beam(beam.Map(lambda pair: (pair[0] % 2, pair[1] * 2)))
        return doubled.group_by(lambda pair: pair[0]).aggregate(accumulator=lambda a, pair: a + pair[1], initial=0)

    assert sorted(jet.collect(range(1_000), build)) == [(0, 1_000), (1, 1_000)]


def test_beside_an_ordinary_branch(jet, beam):
    pipeline, plain, beamed = Pipeline.create(), jet.list(), jet.list()
    numbers = pipeline.read_from(Pipeline.from_list("n", range(100)))
    numbers.write_to(Pipeline.to_list(plain.name))
    numbers.apply_beam(beam.CombineGlobally(max)).set_name("most").write_to(Pipeline.to_list(beamed.name))
    jet.run(pipeline)
    assert (plain.get_all(), beamed.get_all()) == (list(range(100)), [99])


def test_its_failures_are_told_like_all_others(jet, beam):
    pipeline, results = Pipeline.create(), jet.list()
    stage = pipeline.read_from(Pipeline.from_list("n", [1, 0])).apply_beam(beam.Map(lambda x: 1 // x))
    stage.set_name("divide").write_to(Pipeline.to_list(results.name))
    headline = r"^job .* failed: apply_beam 'divide' failed: ZeroDivisionError: [\w ]+ by zero\n"
    with pytest.raises(JobFailedError, match=headline) as caught:
        jet.run(pipeline)
    assert "ZeroDivisionError" in str(caught.value)
    assert caught.value.stage == "divide"
    assert results.get_all() == []


def test_a_transform_that_gives_several_collections_is_refused_at_submit(jet, beam, says):
    pipeline = Pipeline.create()
    stage = pipeline.read_from(Pipeline.from_list("n", [1, 2])).apply_beam(beam.Partition(lambda n, _: n % 2, 2))
    stage.set_name("halves").write_to(Pipeline.to_list(jet.name()))
    before = len(jet.service.get_jobs())
    with pytest.raises(PipelineError) as caught:
        jet.submit(pipeline)
    says(caught, "apply_beam 'halves'", "one PCollection", "DoOutputsTuple", "Flatten")
    assert len(jet.service.get_jobs()) == before


def test_a_transform_that_can_be_applied_once_is_checked_on_a_copy(jet, beam):
    class Once(beam.PTransform):
        applied = False

        def expand(self, items):
            assert not self.applied
            self.applied = True
            return items | beam.Map(lambda x: x * 2)

    assert sorted(jet.collect([1, 2], lambda stage: stage.apply_beam(Once()))) == [2, 4]
