"""Sources whose list or map nobody has written: most often a typing error in the name."""

from __future__ import annotations

import pytest

from jetbridge import ListSource, Pipeline, StreamSource

DEADLINE = 60.0


@pytest.fixture
def warnings(jet, caplog):
    """Submit a pipeline that reads a source; gives the warnings."""

    def warnings(source):
        caplog.clear()
        pipeline = Pipeline.create()
        pipeline.read_from(source).write_to(Pipeline.to_list("out"))
        job = jet.submit(pipeline)
        found = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        if source.bounded:
            job.join(DEADLINE)
        else:
            job.cancel()
        return found

    return warnings


@pytest.mark.parametrize(("kind", "source"), [("list", ListSource), ("map", Pipeline.from_map)])
def test_it_is_told_once_that_there_is_none(warnings, kind, source):
    assert warnings(source("typo")) == [
        f"{kind} 'typo' does not exist yet (nothing was written to it): it is read as empty"
    ]


def test_what_is_there_is_read_without_a_word(client, warnings):
    words, prices = client.get_list("words"), client.get_map("prices")
    words.add("tea")
    words.clear()
    prices.put("tea", 3)
    assert warnings(ListSource("words")) == []
    assert warnings(Pipeline.from_map("prices")) == []


def test_a_stream_may_come_later(warnings):
    assert warnings(StreamSource("later")) == []
