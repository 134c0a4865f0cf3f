"""aggregate_builder: any number of stages aggregated at once."""

from __future__ import annotations

from jetbridge import Pipeline, aggregations, windows


def stages(pipeline, count=5):
    return [pipeline.read_from(Pipeline.from_list(f"n{i}", range(i + 1))) for i in range(count)]


def test_five_stages_and_their_tags(jet):
    pipeline, results = Pipeline.create(), jet.list()
    first, *others = (stage.group_by(lambda n: n % 2) for stage in stages(pipeline))
    builder = first.aggregate_builder(aggregations.counting())
    tags = [builder.add(other, aggregations.to_list()) for other in others]
    assert [builder.tag0, *tags] == [0, 1, 2, 3, 4]
    last = tags[-1]
    builder.build().map(lambda pair: (pair[0], pair[1][builder.tag0], pair[1][last])).write_to(
        Pipeline.to_list(results.name)
    )
    jet.run(pipeline)
    assert sorted(results.get_all()) == [(0, 1, [0, 2, 4]), (1, 0, [1, 3])]


def test_windows(jet):
    pipeline, results = Pipeline.create(), jet.list()
    first, *others = (stage.with_timestamps(lambda n: n) for stage in stages(pipeline))
    builder = first.window(windows.session(3)).aggregate_builder(aggregations.counting())
    for other in others:
        builder.add(other, aggregations.counting())
    builder.build().write_to(Pipeline.to_list(results.name))
    jet.run(pipeline)
    assert [(r.start, r.end, r.value) for r in results.get_all()] == [(0, 7, (1, 2, 3, 4, 5))]
