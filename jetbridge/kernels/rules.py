"""One rule a plan node: the kernel that carries it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jetbridge.errors import UnsupportedByRunnerError
from jetbridge.kernels.aside import Careful
from jetbridge.kernels.coaggregate import CoFoldKernel, CoSessionKernel, CoWindowKernel
from jetbridge.kernels.concurrent import AsyncServiceKernel
from jetbridge.kernels.custom import CustomKeyedKernel
from jetbridge.kernels.distinct import DistinctKernel
from jetbridge.kernels.fold import FoldKernel
from jetbridge.kernels.group import GroupKernel
from jetbridge.kernels.hash_join import BuildKernel, HashJoinKernel
from jetbridge.kernels.joins import AsOfJoinKernel, IntervalJoinKernel, JoinWindowKernel
from jetbridge.kernels.lookup import MapLookupKernel
from jetbridge.kernels.order import SortKernel
from jetbridge.kernels.rebalance import RebalanceKernel
from jetbridge.kernels.rolling import RollingKernel
from jetbridge.kernels.services import Services
from jetbridge.kernels.serving import BatchServiceKernel, FilterServiceKernel, FlatMapServiceKernel, MapServiceKernel
from jetbridge.kernels.sessions import SessionKernel
from jetbridge.kernels.stamp import StampKernel
from jetbridge.kernels.stateful import StatefulKernel
from jetbridge.kernels.stateless import FilterKernel, FlatMapKernel, MapKernel, PeekKernel, UntimeKernel
from jetbridge.kernels.windowed import WindowKernel
from jetbridge.plan.coaggregate import CoAggregateNode, CoWindowNode
from jetbridge.plan.hash_join import BuildNode, HashJoinNode
from jetbridge.plan.joins import AsOfJoinNode, IntervalJoinNode, JoinWindowNode
from jetbridge.plan.keyed import (
    AggregateNode,
    DistinctNode,
    GroupNode,
    KeyedNode,
    RollingNode,
    SortNode,
    WindowNode,
)
from jetbridge.plan.services import (
    AsyncServiceNode,
    BatchServiceNode,
    FilterServiceNode,
    FlatMapServiceNode,
    MapLookupNode,
    MapServiceNode,
)
from jetbridge.plan.shape import RebalanceNode
from jetbridge.plan.side import FailedNode, LateNode
from jetbridge.plan.stateful import CustomNode, FilterStatefulNode, FlatMapStatefulNode, MapStatefulNode
from jetbridge.plan.stateless import FilterNode, FlatMapNode, MapNode, MergeNode, PeekNode
from jetbridge.plan.times import TimestampNode, UntimeNode
from jetbridge.windows import SessionWindow

if TYPE_CHECKING:
    from jetbridge.kernels.keyed import KeyedKernel
    from jetbridge.plan.base import Node


def stateless_kernel(node: Node, logger: str, *, live: bool = False, services: Services | None = None) -> Any:
    """The kernel of a stateless stage, or None for one that only passes items on.

    Args:
        node: The stage.
        logger: The name of the job's logger, for peek and hints.
        live: Whether what it gets comes from a stream, for timestamps.
        services: The services of the job in this process.
    """
    kernel = _stateless(node, logger, live) or _serving(node, services or Services())
    return kernel if node.on_error == "fail" or kernel is None else Careful(kernel)


def _stateless(node: Node, logger: str, live: bool) -> Any:
    match node:
        case MapNode():
            return MapKernel(node.name, node.fn)
        case FilterNode():
            return FilterKernel(node.name, node.predicate)
        case FlatMapNode():
            return FlatMapKernel(node.name, node.fn)
        case PeekNode():
            return PeekKernel(node.name, logger, node.should_log, node.to_string)
        case TimestampNode():
            return StampKernel(node, live=live, logger=logger)
        case UntimeNode():
            return UntimeKernel(node.name)
    return None


def _serving(node: Node, services: Services) -> Any:
    match node:
        case MapServiceNode():
            return MapServiceKernel(node, services)
        case FilterServiceNode():
            return FilterServiceKernel(node, services)
        case FlatMapServiceNode():
            return FlatMapServiceKernel(node, services)
        case BatchServiceNode():
            return BatchServiceKernel(node, services)
        case AsyncServiceNode():
            return AsyncServiceKernel(node, services)
        case MapLookupNode():
            return MapLookupKernel(node, services)
        case MergeNode() | LateNode() | FailedNode():
            return None
    raise UnsupportedByRunnerError(f"no kernel for {node.kind} '{node.name}'")


def keyed_kernel(node: KeyedNode) -> KeyedKernel:
    """The kernel of a stage with state."""
    kernel = _keyed(node)
    if node.on_error != "fail":
        kernel.be_careful()
    return kernel


def _keyed(node: KeyedNode) -> KeyedKernel:
    match node:
        case BuildNode():
            return BuildKernel(node)
        case HashJoinNode():
            return HashJoinKernel(node)
        case JoinWindowNode():
            return JoinWindowKernel(node)
        case IntervalJoinNode():
            return IntervalJoinKernel(node)
        case AsOfJoinNode():
            return AsOfJoinKernel(node)
        case CoWindowNode(window=SessionWindow()):
            return CoSessionKernel(node)
        case CoWindowNode():
            return CoWindowKernel(node)
        case CoAggregateNode():
            return CoFoldKernel(node)
        case WindowNode(window=SessionWindow()):
            return SessionKernel(node)
        case WindowNode():
            return WindowKernel(node)
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
        case MapStatefulNode() | FilterStatefulNode() | FlatMapStatefulNode():
            return StatefulKernel(node)
        case RebalanceNode():
            return RebalanceKernel(node.name, node.key_fn)
        case CustomNode():
            return CustomKeyedKernel(node)
    raise UnsupportedByRunnerError(f"no kernel for {node.kind} '{node.name}'")
