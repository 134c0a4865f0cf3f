"""Aggregate operations: how many items become one result.

An operation is a few plain functions. Those of this module have a combiner, so
that partial results are made beside the source, on every core, before items
are sent to their key's shard; and their results depend neither on how the items
were split for that nor on the runner, except where an operation says otherwise.

Example:
    >>> operation = averaging(lambda flight: flight["delay"])
    >>> total = operation.create()
    >>> for delay in (10, 20):
    ...     total = operation.accumulate(total, {"delay": delay})
    >>> operation.result(total)
    15.0
"""

from jetbridge.aggregations.collecting import concatenating, sorting, to_dict, to_list, to_set
from jetbridge.aggregations.composing import all_of, filtering, flat_mapping, grouping_by, mapping
from jetbridge.aggregations.extremes import bottom_n, max_by, min_by, pick_any, top_n
from jetbridge.aggregations.frequencies import heavy_hitters
from jetbridge.aggregations.moments import linear_trend, stddev, variance
from jetbridge.aggregations.operation import AggregateOperation
from jetbridge.aggregations.own import Initial, aggregate_operation, folding, reducing
from jetbridge.aggregations.sketches import approximate_distinct_count, approximate_quantiles
from jetbridge.aggregations.sums import averaging, counting, summing

__all__ = [
    "AggregateOperation",
    "Initial",
    "aggregate_operation",
    "all_of",
    "approximate_distinct_count",
    "approximate_quantiles",
    "averaging",
    "bottom_n",
    "concatenating",
    "counting",
    "filtering",
    "flat_mapping",
    "folding",
    "grouping_by",
    "heavy_hitters",
    "linear_trend",
    "mapping",
    "max_by",
    "min_by",
    "pick_any",
    "reducing",
    "sorting",
    "stddev",
    "summing",
    "to_dict",
    "to_list",
    "to_set",
    "top_n",
    "variance",
]
