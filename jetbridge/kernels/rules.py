"""One rule a plan node: the kernel that carries it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jetbridge.errors import UnsupportedByRunnerError
from jetbridge.kernels.distinct import DistinctKernel
from jetbridge.kernels.fold import FoldKernel
from jetbridge.kernels.group import GroupKernel
from jetbridge.kernels.order import SortKernel
from jetbridge.kernels.rolling import RollingKernel
from jetbridge.kernels.stateless import FilterKernel, FlatMapKernel, MapKernel, PeekKernel
from jetbridge.plan.keyed import AggregateNode, DistinctNode, GroupNode, KeyedNode, RollingNode, SortNode
from jetbridge.plan.stateless import FilterNode, FlatMapNode, MapNode, MergeNode, PeekNode

if TYPE_CHECKING:
    from jetbridge.kernels.keyed import KeyedKernel
    from jetbridge.plan.base import Node


def stateless_kernel(node: Node, logger: str) -> Any:
    """The kernel of a stateless stage, or None for a merge, which only joins branches.

    Args:
        node: The stage.
        logger: The name of the job's logger, for peek.
    """
    match node:
        case MapNode():
            return MapKernel(node.name, node.fn)
        case FilterNode():
            return FilterKernel(node.name, node.predicate)
        case FlatMapNode():
            return FlatMapKernel(node.name, node.fn)
        case PeekNode():
            return PeekKernel(node.name, logger)
        case MergeNode():
            return None
    raise UnsupportedByRunnerError(f"no kernel for {node.kind} '{node.name}'")


def keyed_kernel(node: KeyedNode) -> KeyedKernel:
    """The kernel of a stage with state."""
    match node:
        case RollingNode():
            return RollingKernel(node.name, node.key_fn, node.operation)
        case AggregateNode():
            return FoldKernel(node.name, node.key_fn, node.operation)
        case GroupNode():
            return GroupKernel(node.name, node.key_fn)
        case DistinctNode():
            return DistinctKernel(node.name, node.key_fn)
        case SortNode():
            return SortKernel(node.name, node.key_fn, node.reverse)
    raise UnsupportedByRunnerError(f"no kernel for {node.kind} '{node.name}'")
