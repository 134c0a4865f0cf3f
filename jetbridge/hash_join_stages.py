"""The methods that enrich the items of a stage with those of batch stages: hash joins."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, NamedTuple

from typing_extensions import Self

from jetbridge.arguments import described, flag, function
from jetbridge.coaggregate_stages import Tag
from jetbridge.errors import PipelineError
from jetbridge.plan.hash_join import BuildNode, HashJoinNode

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetbridge.pipeline import Pipeline

On = Any
"""``(key function of this stage's items, key function of the build side's)``, or the first of them alone."""


class _Build(NamedTuple):
    """A build side: its stage, both keys, and what a match is."""

    stage: Any
    key_fn: Callable[[Any], Any]
    build_key_fn: Callable[[Any], Any]
    outer: bool
    as_list: bool
    entries: bool


class HashJoinBuilder:
    """Gathers the build sides of a hash join: see `HashJoining.hash_join_builder`."""

    def __init__(self, stage: HashJoining) -> None:
        self._stage = stage
        self._builds: list[_Build] = []

    def add(self, other: Any, on: On, *, as_list: bool = False) -> Tag:
        """Add a build side; an item without a match gets None, or an empty list.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> pipeline = Pipeline.create()
            >>> sales, prices = pipeline.read_from(testing.items("mate")), pipeline.read_from(testing.items(("tea", 3)))
            >>> builder = sales.hash_join_builder()
            >>> price = builder.add(prices, lambda sale: sale)
            >>> testing.run_kernels(builder.build(lambda sale, matches: (sale, matches[price])))
            [('mate', None)]

        Args:
            other: As for `HashJoining.hash_join`.
            on: Likewise.
            as_list: Likewise.

        Returns:
            The place of its match in the tuple of matches.

        Raises:
            PipelineError: As for `HashJoining.hash_join`.
        """
        self._builds.append(self._stage._build("hash_join_builder", other, on, outer=True, as_list=as_list))
        return Tag(len(self._builds) - 1)

    def add_inner(self, other: Any, on: On, *, as_list: bool = False) -> Tag:
        """Add a build side; an item without a match in it is left out.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> pipeline = Pipeline.create()
            >>> sales = pipeline.read_from(testing.items("mate", "tea"))
            >>> builder = sales.hash_join_builder()
            >>> price = builder.add_inner(pipeline.read_from(testing.items(("tea", 3))), lambda sale: sale)
            >>> testing.run_kernels(builder.build(lambda sale, matches: (sale, matches[price])))
            [('tea', 3)]

        Args:
            other: As for `HashJoining.hash_join`.
            on: Likewise.
            as_list: Likewise.

        Returns:
            The place of its match in the tuple of matches.

        Raises:
            PipelineError: As for `HashJoining.hash_join`.
        """
        self._builds.append(self._stage._build("hash_join_builder", other, on, outer=False, as_list=as_list))
        return Tag(len(self._builds) - 1)

    def build(self, fn: Callable[[Any, tuple[Any, ...]], Any] | None = None) -> Any:
        """The joined stage.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> pipeline = Pipeline.create()
            >>> builder = pipeline.read_from(testing.items("tea")).hash_join_builder()
            >>> price = builder.add(pipeline.read_from(testing.items(("tea", 3))), lambda sale: sale)
            >>> testing.run_kernels(builder.build())
            [('tea', (3,))]

        Args:
            fn: ``(item, matches) -> result``; without it results are ``(item, matches)``.

        Raises:
            PipelineError: When there is no build side, or ``fn`` is not callable.
        """
        if not self._builds:
            raise PipelineError("hash_join_builder has nothing to join with: call add(stage, on) before build()")
        make = _pair if fn is None else function("build", "fn", fn)
        return self._stage._hash_join("hash_join", self._builds, lambda item, *matches: make(item, matches))


class HashJoining(abc.ABC):
    """What can be enriched."""

    _pipeline: Pipeline
    _id: int

    def hash_join(
        self, other: Any, on: On, fn: Callable[[Any, Any], Any] | None = None, *, as_list: bool = False
    ) -> Self:
        """Add to each item what matches it in a batch stage, which is read to its end first.

        An item with several matches gives a result for each, and one without
        any gives one with None, as in Jet. Results keep the item's time. Items
        wait until the other stage has ended; it is kept by key, in the stage's
        shards and not on every core, so items of different keys may change
        their order.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> pipeline = Pipeline.create()
            >>> sales = pipeline.read_from(testing.items("tea", "mate"))
            >>> prices = pipeline.read_from(testing.items({"of": "tea", "price": 3}))
            >>> joined = sales.hash_join(prices, (lambda sale: sale, lambda price: price["of"]))
            >>> sorted(testing.run_kernels(joined))
            [('mate', None), ('tea', {'of': 'tea', 'price': 3})]

        Args:
            other: A batch stage of the same pipeline.
            on: Two functions, the key of an item and the key of one of the
                other stage. Or the first alone: then the others are
                ``(key, value)``, such as a map's entries, and a match is the value.
            fn: ``(item, match) -> result``; without it results are ``(item, match)``.
            as_list: Whether an item gives one result, with the list of its matches.

        Raises:
            PipelineError: When ``other`` is a stream or no stage of this pipeline, or something is not callable.
        """
        build = self._build("hash_join", other, on, outer=True, as_list=as_list)
        return self._hash_join("hash_join", [build], _made("hash_join", fn))

    def inner_hash_join(
        self, other: Any, on: On, fn: Callable[[Any, Any], Any] | None = None, *, as_list: bool = False
    ) -> Self:
        """Like `hash_join`, without the items that nothing matches.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> pipeline = Pipeline.create()
            >>> sales = pipeline.read_from(testing.items("tea", "mate"))
            >>> prices = pipeline.read_from(testing.items(("tea", 3)))
            >>> testing.run_kernels(sales.inner_hash_join(prices, lambda sale: sale))
            [('tea', 3)]

        Args:
            other: As for `hash_join`.
            on: Likewise.
            fn: Likewise.
            as_list: Likewise.

        Raises:
            PipelineError: As for `hash_join`.
        """
        build = self._build("inner_hash_join", other, on, outer=False, as_list=as_list)
        return self._hash_join("inner_hash_join", [build], _made("inner_hash_join", fn))

    def hash_join2(
        self, other1: Any, on1: On, other2: Any, on2: On, fn: Callable[[Any, Any, Any], Any] | None = None
    ) -> Self:
        """Like `hash_join` with two batch stages: a result for each pair of matches.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> pipeline = Pipeline.create()
            >>> sales, prices = pipeline.read_from(testing.items("tea")), pipeline.read_from(testing.items(("tea", 3)))
            >>> origins = pipeline.read_from(testing.items(("mate", "Peru")))
            >>> testing.run_kernels(sales.hash_join2(prices, lambda sale: sale, origins, lambda sale: sale))
            [('tea', 3, None)]

        Args:
            other1: A batch stage of the same pipeline.
            on1: As for `hash_join`.
            other2: Another one.
            on2: As for `hash_join`; the key is one of the item, too.
            fn: ``(item, match1, match2) -> result``; without it results are such tuples.

        Raises:
            PipelineError: As for `hash_join`.
        """
        return self._hash_join2("hash_join2", (other1, on1), (other2, on2), fn, outer=True)

    def inner_hash_join2(
        self, other1: Any, on1: On, other2: Any, on2: On, fn: Callable[[Any, Any, Any], Any] | None = None
    ) -> Self:
        """Like `hash_join2`, without the items that have no match in both.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> pipeline = Pipeline.create()
            >>> sales, prices = pipeline.read_from(testing.items("tea")), pipeline.read_from(testing.items(("tea", 3)))
            >>> origins = pipeline.read_from(testing.items(("tea", "Assam"), ("tea", "Nepal")))
            >>> joined = sales.inner_hash_join2(prices, lambda sale: sale, origins, lambda sale: sale)
            >>> sorted(testing.run_kernels(joined))
            [('tea', 3, 'Assam'), ('tea', 3, 'Nepal')]

        Args:
            other1: As for `hash_join2`.
            on1: Likewise.
            other2: Likewise.
            on2: Likewise.
            fn: Likewise.

        Raises:
            PipelineError: As for `hash_join`.
        """
        return self._hash_join2("inner_hash_join2", (other1, on1), (other2, on2), fn, outer=False)

    def hash_join_builder(self) -> HashJoinBuilder:
        """Join with any number of batch stages.

        Example:
            >>> from jetbridge import Pipeline, testing
            >>> pipeline = Pipeline.create()
            >>> sales = pipeline.read_from(testing.items({"shop": 1, "item": "tea"}))
            >>> shops, prices = (pipeline.read_from(testing.items(entry)) for entry in [(1, "Bern"), ("tea", 3)])
            >>> builder = sales.hash_join_builder()
            >>> shop, price = builder.add(shops, lambda s: s["shop"]), builder.add_inner(prices, lambda s: s["item"])
            >>> testing.run_kernels(builder.build(lambda sale, matches: (matches[shop], matches[price])))
            [('Bern', 3)]

        Returns:
            A builder, with ``add``, ``add_inner`` and ``build``; the first two give the place of a match.
        """
        return HashJoinBuilder(self)

    def _hash_join2(self, operator: str, first: Any, second: Any, fn: Any, *, outer: bool) -> Self:
        builds = [self._build(operator, other, on, outer=outer, as_list=False) for other, on in (first, second)]
        return self._hash_join(operator, builds, _made(operator, fn))

    def _build(self, operator: str, other: Any, on: Any, *, outer: bool, as_list: bool) -> _Build:
        from jetbridge.stages import BatchStage, StreamStage

        flag(operator, "as_list", as_list)
        if isinstance(other, StreamStage):
            raise PipelineError(
                f"{operator} reads its other side to the end first, and '{other.name}' is a stream, which has none: "
                "use interval_join, as_of_join or join_window for two streams"
            )
        if not isinstance(other, BatchStage):
            raise PipelineError(f"{operator} must be given a batch stage of the same pipeline; got {described(other)}")
        if other._pipeline is not self._pipeline:
            raise PipelineError(
                f"{operator}: stage '{other.name}' belongs to another pipeline: build both branches in one"
            )
        if callable(on):
            function(operator, "on", on, "item")
            return _Build(other, on, _entry_key, outer, as_list, entries=True)
        if not isinstance(on, tuple) or len(on) != 2:
            raise PipelineError(
                f"{operator} must be given as on the two key functions, of an item and of the other side's, or the "
                f"first alone when the other side's items are (key, value); got {described(on)}"
            )
        left, right = (function(operator, f"on[{at}]", fn, "item") for at, fn in enumerate(on))
        return _Build(other, left, right, outer, as_list, entries=False)

    def _hash_join(self, operator: str, builds: list[_Build], fn: Callable[..., Any]) -> Self:
        """One stage after the other, each with a build side; they bear the name of the last."""
        pipeline, above, count = self._pipeline, self._id, len(builds)
        parts: dict[int, str] = {}
        for at, side in enumerate(builds):
            number = "" if count == 1 else str(at + 1)
            suffix = f"build{number}"
            build = pipeline._add(BuildNode, f"{operator}-{suffix}", (side.stage._id,), key_fn=side.build_key_fn)
            parts[build.id] = suffix
            suffix = f"step{number}"
            node = pipeline._add(
                HashJoinNode,
                operator if at == count - 1 else f"{operator}-{suffix}",
                (above, build.id),
                key_fn=side.key_fn if at == 0 else _of_row(side.key_fn),
                fn=fn if count == 1 else _step(fn, first=at == 0, last=at == count - 1),
                outer=side.outer,
                as_list=side.as_list,
                entries=side.entries,
            )
            above = node.id
            parts[above] = suffix
        del parts[above]
        pipeline._parts[above] = parts
        stage: Any = type(self)
        result: Self = stage(pipeline, above)
        return result


def _made(operator: str, fn: Any) -> Callable[..., Any]:
    return _tuple if fn is None else function(operator, "fn", fn)


def _tuple(*parts: Any) -> Any:
    return parts


def _pair(item: Any, matches: Any) -> Any:
    return item, matches


def _entry_key(entry: Any) -> Any:
    key, _ = entry
    return key


def _of_row(key_fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The key of an item that has some matches by now."""
    return lambda row: key_fn(row[0])


def _step(fn: Callable[..., Any], *, first: bool, last: bool) -> Callable[[Any, Any], Any]:
    """What one of several joins makes: an item with its matches so far, and the last of them the result."""
    if first:
        return lambda item, match: (item, match)
    if last:
        return lambda row, match: fn(*row, match)
    return lambda row, match: (*row, match)
