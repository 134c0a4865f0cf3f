"""What the stages with services refuse when a pipeline is built."""

from __future__ import annotations

import datetime as dt

import pytest

from jetbridge import Pipeline, PipelineError
from jetbridge.services import shared_service

TEN = shared_service(lambda context: 10)
METHODS = [
    "map_using_service",
    "filter_using_service",
    "flat_map_using_service",
    "map_using_service_batched",
    "map_using_service_async",
]


@pytest.fixture
def stage():
    return Pipeline.create().read_from(Pipeline.from_list("n", [1]))


@pytest.mark.parametrize("method", METHODS)
def test_no_factory(stage, method):
    with pytest.raises(PipelineError, match=rf"{method} must be given a ServiceFactory; got 3 \(int\)$"):
        getattr(stage, method)(3, max)
    with pytest.raises(PipelineError, match=rf"{method} must be .*: jetbridge.services.shared_service\(create\)"):
        getattr(stage, method)(lambda context: 10, max)


@pytest.mark.parametrize("method", METHODS)
def test_no_function(stage, method):
    with pytest.raises(PipelineError, match=rf"{method} must be given a callable as (fn|predicate); got 3 \(int\)"):
        getattr(stage, method)(TEN, 3)


@pytest.mark.parametrize("method", METHODS[:3])
def test_after_group_by(stage, method):
    with pytest.raises(PipelineError, match="must be given a ServiceFactory"):
        getattr(stage.group_by(abs), method)(None, max)
    with pytest.raises(PipelineError, match="must be given a callable"):
        getattr(stage.group_by(abs), method)(TEN, None)


@pytest.mark.parametrize("size", [0, -1, 1.5, True, None, "4"])
def test_numbers(stage, size):
    for call in (
        lambda: stage.map_using_service_batched(TEN, max, max_batch=size),
        lambda: stage.map_using_service_async(TEN, max, max_concurrent=size),
        lambda: stage.map_using_map("any", abs, max, max_entries=size),
    ):
        with pytest.raises(PipelineError, match="must be an int from 1 on; got"):
            call()


@pytest.mark.parametrize("length", [-1, 1.5, "4", dt.timedelta(microseconds=1)])
def test_lengths_of_time(stage, length):
    with pytest.raises(PipelineError, match="timeout must be"):
        stage.map_using_service_async(TEN, max, timeout=length)
    with pytest.raises(PipelineError, match="ttl must be"):
        stage.map_using_map("any", abs, max, ttl=length)


def test_order_is_yes_or_no(stage):
    with pytest.raises(PipelineError, match="must be given True or False as preserve_order; got 1"):
        stage.map_using_service_async(TEN, max, preserve_order=1)


@pytest.mark.parametrize("name", [3, "", None, {}])
def test_no_map(stage, name):
    with pytest.raises(PipelineError, match="the name of a map must be a text that is not empty"):
        stage.map_using_map(name, abs, max)


def test_no_functions_for_a_map(stage):
    with pytest.raises(PipelineError, match=r"map_using_map must be given a callable as key_fn; got 3 \(int\)"):
        stage.map_using_map("any", 3, max)
    with pytest.raises(PipelineError, match=r"map_using_map must be given a callable as fn; got 3 \(int\)"):
        stage.map_using_map("any", abs, 3)
