"""Co-aggregation: one accumulator for each input, side by side for each key, and in windows for each window."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from jetbridge.aggregations import AggregateOperation
from jetbridge.kernels.failure import FAILURES, stage_error
from jetbridge.kernels.fold import Folder, FoldKernel, reducing
from jetbridge.kernels.frames import FrameSplitter, FrameState
from jetbridge.kernels.keyed import Keys, Splitter, State, decode, restored
from jetbridge.kernels.numbered import folded, in_sequence, kept
from jetbridge.kernels.panes import Combining
from jetbridge.kernels.ports import PortSplitter, ported
from jetbridge.kernels.sessions import SessionKernel, SessionSplitter, renumbered
from jetbridge.kernels.windowed import WindowKernel
from jetbridge.plan.coaggregate import result_of, together

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from jetbridge.kernels.ended import Ended
    from jetbridge.kernels.panes import Panes
    from jetbridge.kernels.sessions import SessionState
    from jetbridge.plan.coaggregate import CoAggregateNode, CoWindowNode


class CoFoldKernel(FoldKernel):
    """Emits ``(key, results)`` for each key at the end, or one tuple of results when there is no key."""

    def __init__(self, node: CoAggregateNode) -> None:
        super().__init__(node.name, node.key_fn, together(node.operations))
        self.key_fns = node.key_fns
        self.folders = [Folder(node.name, operation) for operation in node.operations]

    def be_careful(self) -> None:
        """Leave out the items that cannot be folded."""
        for folder in self.folders:
            folder.failed = self.failed

    def splitter(self, shards: int, port: int = 0) -> Splitter:
        """A splitter that reduces as far as the input's operation allows."""
        keys = Keys(self.kind, self.name, self.key_fns[port], shards)
        return PortSplitter(reducing(keys, Folder(self.name, self.folders[port].operation)), port)

    def process(self, state: State, payload: bytes) -> Iterator[list[Any]]:
        """Fold a payload into the accumulators of its input."""
        port, inner = ported(payload)
        keys, values, odd, *_ = decode(inner)
        keys = self.last = restored(keys, odd)
        folder, create = self.folders[port], self.folder.create
        combine = folder.operation.combine
        for key, value in zip(keys, values, strict=True):
            accs = state[key] if key in state else create()
            before = 0 if folder.failed is None else len(folder.failed)
            try:
                acc = combine(accs[port], value) if combine is not None else folder.fold(accs[port], value)
            except FAILURES as error:
                if combine is None:
                    raise
                raise stage_error(self.kind, self.name, "combining partial results", error) from error
            gone = combine is None and folder.failed is not None and len(folder.failed) - before == len(value)
            if gone and key not in state:  # a key whose items all failed has no result
                continue
            state[key] = (*accs[:port], acc, *accs[port + 1 :])
        return iter(())


class CoWindowKernel(WindowKernel):
    """Emits a tuple of results for each window, or for each key and window, when the watermark reaches its end."""

    def __init__(self, node: CoWindowNode) -> None:
        super().__init__(node)
        self.inputs = Inputs(node)
        self.folder = self._folding = self.inputs.folder
        self.numbering = False
        self._combining = Combining(self.folder.operation)

    def be_careful(self) -> None:
        """Leave out the items that cannot be folded."""
        self.inputs.be_careful(self.failed)

    def splitter(self, shards: int, port: int = 0) -> Splitter:  # type: ignore[override]
        """A splitter that reduces by frame and key."""
        keys, folder = self.inputs.reduced(shards, port)
        numbering, careful = not self.inputs.combining[port], self.inputs.careful
        frames = FrameSplitter(keys, folder, self.size, self.step, numbering=numbering, careful=careful)
        return PortSplitter(frames, port)

    def process(self, state: State, payload: bytes) -> Iterator[list[Any]]:
        """Take parts of frames in."""
        self.inputs.port, inner = ported(payload)
        return super().process(state, inner)

    def _as_kept(self, values: list[Any]) -> list[Any]:
        return list(map(self.inputs.accumulators, values))

    def _folded(
        self, state: FrameState, inside: Panes, keys: Collection[Any] | None, touched: list[Any]
    ) -> dict[Any, Any]:
        """The accumulators of a window, without items that cannot be folded: the next window is not to meet them."""
        found = super()._folded(state, inside, keys, touched)
        if not self.inputs.leaves_out:
            return found
        out = {}
        for key, accs in found.items():
            sound, bad = self.inputs.sound(accs)
            if any(bad):
                self._leave_out(state, inside, key, partial(self.inputs.without, bad=bad), touched)
            if any(sound):
                out[key] = sound
        return out

    def _final(self, accs: dict[Any, Any]) -> dict[Any, Any]:
        """The accumulators of tumbling windows, without items that cannot be folded, nor keys that have no others."""
        if not self.inputs.leaves_out:
            return accs
        sound = {key: self.inputs.sound(acc)[0] for key, acc in accs.items()}
        return {key: acc for key, acc in sound.items() if any(acc)}

    def early(self, state: State) -> Iterator[list[Any]]:
        """The results so far of windows that have changed; items that cannot be folded are put aside now."""
        assert isinstance(state, FrameState)
        cleaned = []
        if self.inputs.leaves_out and self.size == self.step:
            for frame, keys in state.changed.items():
                for key in keys & state[frame].keys():
                    state[frame][key], bad = self.inputs.sound(state[frame][key])
                    if any(bad):
                        cleaned.append((frame, key))
        for chunk in super().early(state):
            self.last += cleaned
            cleaned = []
            yield chunk
        self.last += cleaned


class CoSessionKernel(SessionKernel):
    """Emits a tuple of results for each session of all inputs' items, when the watermark reaches its end."""

    def __init__(self, node: CoWindowNode) -> None:
        super().__init__(node)
        self.inputs = Inputs(node)
        self.folder = self._folding = self.inputs.folder
        self.numbering = False
        self._combining = Combining(self.folder.operation)

    def be_careful(self) -> None:
        """Leave out the items that cannot be folded."""
        self.inputs.be_careful(self.failed)

    def splitter(self, shards: int, port: int = 0) -> Splitter:  # type: ignore[override]
        """A splitter that joins what is close together in one input."""
        keys, folder = self.inputs.reduced(shards, port)
        return PortSplitter(SessionSplitter(keys, folder, self.gap, careful=self.inputs.careful), port)

    def process(self, state: State, payload: bytes) -> Iterator[list[Any]]:
        """Let spans join the sessions of their keys."""
        self.inputs.port, inner = ported(payload)
        return super().process(state, inner)

    def _taken(self, state: SessionState, base: int, acc: Any) -> Any:
        mine = acc if self.inputs.combining[self.inputs.port] else renumbered(state, base, acc)
        return self.inputs.accumulators(mine)

    def _finish(self, over: Ended, key: Any, session: list[Any], *, going: bool = False) -> None:
        """Add a session to those that are over, without items that cannot be folded: these are put aside once."""
        if self.inputs.leaves_out:
            session[2], _ = self.inputs.sound(session[2])
            if not any(session[2]):
                return
        super()._finish(over, key, session, going=going)


class Inputs:
    """The inputs of a windowed stage, and what is kept for each.

    An input whose operation cannot combine is kept as its items, numbered in
    the order in which they came, and folded when the window ends. Of another
    one is kept ``(accumulator,)``, or ``()`` where nothing came: what is kept
    of an input is true when it has something.

    Attributes:
        port: The input of the payload at hand.
        combining: For each input whether its operation can combine.
        careful: Whether items that cannot be folded are left out.
        folder: Puts the accumulators of all inputs together.
    """

    def __init__(self, node: CoWindowNode) -> None:
        self.node = node
        self.port = 0
        self._folders = [Folder(node.name, operation) for operation in node.operations]
        self.careful = False
        self.combining = [operation.combine is not None for operation in node.operations]
        self._kept = [
            _where_any(folder.operation) if combining else _in_sequence(folder)
            for folder, combining in zip(self._folders, self.combining, strict=True)
        ]
        self.folder = Folder(node.name, together(self._kept))

    @property
    def leaves_out(self) -> bool:
        """Whether items are left out when a window ends; where all inputs combine that is done as they come."""
        return self.careful and not all(self.combining)

    def be_careful(self, failed: list[Any]) -> None:
        """Leave out the items that cannot be folded, and add them to a list."""
        self.careful = True
        for folder in self._folders:
            folder.failed = failed

    def reduced(self, shards: int, port: int) -> tuple[Keys, Folder]:
        """What an input's splitter goes by."""
        kind = "window" if self.node.kind == "co_window" else self.node.kind
        return Keys(kind, self.node.name, self.node.key_fns[port], shards), Folder(
            self.node.name, self.node.operations[port]
        )

    def accumulators(self, value: Any) -> tuple[Any, ...]:
        """What came by the input at hand as accumulators of all inputs."""
        mine = (value,) if self.combining[self.port] else value
        return tuple([mine if port == self.port else operation.create() for port, operation in enumerate(self._kept)])

    def sound(self, accs: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[set[int], ...]]:
        """Accumulators without the kept items that cannot be folded, which are put aside, and the numbers of these."""
        bad = tuple(
            [
                set() if combining else folded(folder, acc)[1]
                for folder, combining, acc in zip(self._folders, self.combining, accs, strict=True)
            ]
        )
        return self.without(accs, bad) if any(bad) else accs, bad

    def without(self, accs: tuple[Any, ...], bad: tuple[set[int], ...]) -> tuple[Any, ...]:
        """Accumulators without some of the items that they keep."""
        return tuple([kept(acc, numbers) if numbers else acc for acc, numbers in zip(accs, bad, strict=True)])


def _in_sequence(folder: Folder) -> AggregateOperation:
    """What keeps numbered items, and folds them in their order when it finishes."""
    return replace(in_sequence(), finish=lambda numbered: folder.finish(folded(folder, numbered)[0]))


def _where_any(operation: AggregateOperation) -> AggregateOperation:
    """An operation that tells whether something came: ``(accumulator,)``, or ``()``."""
    create, combine = operation.create, operation.combine
    assert combine is not None

    def joined(left: tuple[Any, ...], right: tuple[Any, ...]) -> tuple[Any, ...]:
        return (combine(left[0] if left else create(), right[0]),) if right else left

    return AggregateOperation(
        create=tuple,
        accumulate=lambda acc, item: (operation.accumulate(acc[0] if acc else create(), item),),
        combine=joined,
        finish=lambda acc: result_of(operation, acc[0] if acc else create()),
    )
