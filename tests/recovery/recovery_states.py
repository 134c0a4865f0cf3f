"""Functions with state and kernels of one's own, for the pipelines that the recovery tests disturb."""

from __future__ import annotations

from jetbridge import CustomKernel

BURST, SILENCE = 50, 100
"""Of each of five keys come so many numbers one after the other, then none for longer than the second number."""


def burst_key(n):
    return n // BURST % 5


def burst(state, key, n):
    state.append(n)
    return []


def burst_over(state, key, at):
    return [(key, state[0], len(state), at)]


class Bursts(CustomKernel):
    """The same as `burst` and `burst_over`, as a kernel of somebody's own."""

    gives_times = True
    drops_late = True

    def process(self, state, key, items, times):
        for n, at in zip(items, times, strict=True):
            if state and at > state["last"] + SILENCE:
                yield from self.on_watermark(state, key, at)
            state.setdefault("first", n)
            state["size"] = state.get("size", 0) + 1
            state["last"] = at

    def due(self, state, key):
        return state["last"] + SILENCE + 1 if state else None

    def on_watermark(self, state, key, watermark):
        over = state["last"] + SILENCE
        result = key, state["first"], state["size"], over
        state.clear()
        yield over, result


def bursts(numbers, until):
    """What both give of numbers that are their own times, when the watermark is at a time."""
    found, last = [], {}
    for n in numbers:
        key = burst_key(n)
        if key in last and n > last[key][2] + SILENCE:
            found.append((key, last[key][0], last[key][1], last.pop(key)[2] + SILENCE))
        first, size, _ = last.get(key, (n, 0, n))
        last[key] = first, size + 1, n
    found += [(key, first, size, newest + SILENCE) for key, (first, size, newest) in last.items()]
    return [each for each in found if each[3] < until]


def counted(state, key, n):
    state["count"] = state.get("count", 0) + 1
    return key, state["count"]


def is_fifth(state, n):
    state.append(n)
    return len(state) == 5
