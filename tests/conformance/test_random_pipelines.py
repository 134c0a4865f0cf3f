"""Pipelines put together at random, against the same pipeline in plain Python."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from jetbridge import Pipeline, aggregations


def distinct(items):
    return list(dict.fromkeys(items))


def counts(items):
    return [key * 100_000 + n for key, n in Counter(n % 7 for n in items).items()]


def sums(items):
    return [sum(items)]


def hot(items):
    return [best for best in [max(items, default=None)] if best is not None]


def some(n):
    return (n, -n)[: n % 3]


OPERATORS = {
    "map": (lambda s: s.map(lambda n: n * 3 + 1), lambda items: [n * 3 + 1 for n in items]),
    "filter": (lambda s: s.filter(lambda n: n % 4), lambda items: [n for n in items if n % 4]),
    "flat_map": (lambda s: s.flat_map(some), lambda items: [m for n in items for m in some(n)]),
    "distinct": (lambda s: s.distinct(), distinct),
    "sort": (lambda s: s.sort(key_fn=lambda n: (n % 5, n)), lambda items: sorted(items, key=lambda n: (n % 5, n))),
    "counts": (
        lambda s: s.group_by(lambda n: n % 7).aggregate(aggregations.counting()).map(lambda p: p[0] * 100_000 + p[1]),
        counts,
    ),
    "sums": (lambda s: s.aggregate(accumulator=lambda a, n: a + n, initial=0), sums),
    "hot": (lambda s: s.aggregate(aggregations.max_by()).filter(lambda n: n is not None), hot),
    "groups": (
        lambda s: s.group_by(lambda n: n % 11).collect().flat_map(lambda pair: pair[1]),
        lambda items: [n for key in range(11) for n in items if n % 11 == key],
    ),
}  # fmt: skip


@pytest.mark.parametrize("parallelism", [1, 2])
@pytest.mark.parametrize("seed", range(12))
def test_the_results_are_those_of_plain_python(jet, seed, parallelism):
    rng = random.Random(seed)
    pipeline = Pipeline.create()
    stages = []
    for number in range(rng.randint(1, 3)):
        items = [rng.randint(-500, 500) for _ in range(rng.choice([0, 1, 50, 9_000]))]
        stages.append((pipeline.read_from(Pipeline.from_list(f"source-{number}", items)), items))
    unread = set(range(len(stages)))
    for _ in range(rng.randint(3, 10)):
        index = rng.randrange(len(stages))
        stage, items = stages[index]
        unread.discard(index)
        if rng.random() < 0.25:
            other = rng.randrange(len(stages))
            unread.discard(other)
            stages.append((stage.merge(stages[other][0]), [*items, *stages[other][1]]))
        else:
            build, model = OPERATORS[rng.choice(sorted(OPERATORS))]
            stages.append((build(stage), model(items)))
        unread.add(len(stages) - 1)
    sinks = []
    for index in sorted(unread):
        results = jet.list()
        stages[index][0].write_to(Pipeline.to_list(results.name))
        sinks.append((results, stages[index][1]))
    metrics = jet.run(pipeline).get_metrics()
    for results, expected in sinks:
        assert Counter(results.get_all()) == Counter(expected)
    assert metrics.emitted_count == sum(len(expected) for _, expected in sinks)
