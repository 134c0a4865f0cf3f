"""A plan as a picture: Graphviz's dot, Mermaid, and SVG for notebooks."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jetbridge.plan.base import Node

_SHAPES = {"source": ("([", "])"), "sink": ("[(", ")]")}
_BOX, _GAP, _LAYER = 150, 30, 70


def _label(node: Node) -> str:
    return node.name if node.kind in node.name else f"{node.kind} {node.name}"


def to_dot(nodes: Sequence[Node]) -> str:
    """The graph in the language of Graphviz."""
    lines = ["digraph pipeline {", "  rankdir=LR;", "  node [shape=box, style=rounded];"]
    for node in nodes:
        label = _label(node).replace("\\", "\\\\").replace('"', '\\"')
        shape = ", shape=cylinder" if node.kind in _SHAPES else ""
        lines.append(f'  s{node.id} [label="{label}"{shape}];')
    lines += [f"  s{above} -> s{node.id};" for node in nodes for above in node.inputs]
    return "\n".join([*lines, "}"]) + "\n"


def to_mermaid(nodes: Sequence[Node]) -> str:
    """The graph in the language of Mermaid."""
    lines = ["flowchart LR"]
    for node in nodes:
        left, right = _SHAPES.get(node.kind, ("[", "]"))
        label = html.escape(_label(node)).replace("&", "#").replace("##", "#")
        lines.append(f'  s{node.id}{left}"{label}"{right}')
    lines += [f"  s{above} --> s{node.id}" for node in nodes for above in node.inputs]
    return "\n".join(lines) + "\n"


def to_svg(nodes: Sequence[Node]) -> str:
    """The graph as an SVG picture: one row of boxes a layer, from the sources down."""
    depth: dict[int, int] = {}
    for node in nodes:
        depth[node.id] = max((depth[above] + 1 for above in node.inputs), default=0)
    place: dict[int, tuple[int, int]] = {}
    filled: dict[int, int] = {}
    for node in nodes:
        layer = depth[node.id]
        column = filled.get(layer, 0)
        filled[layer] = column + 1
        place[node.id] = (10 + column * (_BOX + _GAP), 10 + layer * _LAYER)
    width = 20 + max(filled.values(), default=1) * (_BOX + _GAP)
    height = 20 + (max(depth.values(), default=0) + 1) * _LAYER
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">']
    for node in nodes:
        x, y = place[node.id]
        for above in node.inputs:
            from_x, from_y = place[above]
            parts.append(
                f'<path d="M{from_x + _BOX // 2} {from_y + 36} L{x + _BOX // 2} {y}" stroke="#888" fill="none"/>'
            )
        colour = "#d8e8ff" if node.kind in _SHAPES else "#f4f4f4"
        label = _label(node)
        label = html.escape(label if len(label) <= 22 else label[:21] + "…")
        parts.append(
            f'<rect x="{x}" y="{y}" width="{_BOX}" height="36" rx="6" fill="{colour}" stroke="#888"/>'
            f'<text x="{x + _BOX // 2}" y="{y + 23}" font-size="12" text-anchor="middle">{label}</text>'
        )
    return "".join([*parts, "</svg>"])
