"""The connectors keep the promises of every source and sink, on a real member."""

from __future__ import annotations

import itertools
import os
import pickle

import pytest

import jetbridge
from jetbridge import sinks, sources
from jetbridge.connectors.base import BadItem
from jetbridge.connectors.conformance import check_sink, check_source
from jetbridge.connectors.hazelcast import journal
from jetbridge.connectors.hazelcast.appending import ListSink, ReliableTopicSink, RingbufferSink
from jetbridge.connectors.hazelcast.list_source import ListSource
from jetbridge.connectors.hazelcast.map_sink import MapSink
from jetbridge.connectors.hazelcast.map_source import MapSource
from jetbridge.connectors.hazelcast.sinks import SetSink
from jetbridge.connectors.hazelcast.stream_source import StreamSource
from jetbridge.errors import PipelineError, SerializationError, SinkError, SourceError


def test_a_list_is_a_source(hz, cluster, name):
    listed = name("listed")
    hz.get_list(listed).add_all(list(range(600))).result()
    check_source(lambda: ListSource(listed, cluster), list(range(600)))


def test_a_list_that_nobody_has_written_is_empty(cluster, name):
    check_source(lambda: ListSource(name("nothing"), cluster), [])


def test_a_map_is_a_source(hz, cluster, name):
    mapped = name("mapped")
    entries = {f"key {number}": number for number in range(500)}
    hz.get_map(mapped).put_all(entries).result()
    check_source(lambda: MapSource(mapped, cluster))
    source = MapSource(mapped, cluster)
    parts = list(source.read_range("0", 0, None))
    source.close()
    assert sorted(itertools.chain(*parts)) == sorted(entries.items())
    assert max(map(len, parts)) <= 2048 * 2


def test_entries_that_nobody_touches_come_once_while_the_map_grows(hz, cluster, name):
    """The member moves its hash tables while they are read."""
    mapped = name("growing")
    proxy = hz.get_map(mapped).blocking()
    proxy.put_all({f"old {number}": number for number in range(20_000)})
    source = MapSource(mapped, cluster)
    seen = []
    for at, part in enumerate(source.read_range("0", 0, None)):
        seen += [key for key, _ in part if key.startswith("old")]
        if at % 20 == 0:
            proxy.put_all({f"new {at} {number}": number for number in range(3000)})
    source.close()
    assert len(seen) == len(set(seen)) == 20_000


@pytest.mark.parametrize("kind", ["ringbuffer", "reliable topic", None])
def test_a_stream_is_a_source(hz, cluster, name, kind):
    events = name("events")
    items = [f"event {number}" for number in range(1200)]
    if kind == "reliable topic":
        hz.get_reliable_topic(events).publish_all(items[:400]).result()
        hz.get_reliable_topic(events).publish_all(items[400:800]).result()
        hz.get_reliable_topic(events).publish_all(items[800:]).result()
    else:
        for at in range(0, 1200, 400):
            hz.get_ringbuffer(events).add_all(items[at : at + 400]).result()
    check_source(lambda: StreamSource(events, kind, cluster=cluster), items)


def test_from_now_on_is_from_the_submit_on(hz, cluster, name, context):
    events = name("events")
    hz.get_ringbuffer(events).add_all(["old", "older"]).result()
    source = StreamSource(events, initial_position="latest", cluster=cluster)
    source.submitted(".")
    hz.get_ringbuffer(events).add("new").result()
    source.open(context())
    assert source.read("0", source.start("0"), 100)[0] == ["new"]
    source.close()


def test_what_was_overwritten_is_an_error_that_names_it(hz, cluster, name, says):
    events = name("small")
    hz.get_ringbuffer(events).add_all(list(range(25))).result()  # of which it keeps 10
    source = StreamSource(events, "ringbuffer", cluster=cluster)
    assert source.read("0", source.start("0"), 100)[0] == list(range(15, 25)), "the oldest that are there"
    with pytest.raises(SourceError) as caught:
        source.read("0", (events, 3), 100)
    says(
        caught, f"stream '{events}': items 3 to 14 were overwritten", "12 items", "capacity is 10", "overwritten='skip'"
    )
    source.close()


def test_what_was_overwritten_is_skipped_when_asked(hz, cluster, name, caplog):
    events = name("small")
    hz.get_ringbuffer(events).add_all(list(range(25))).result()
    source = StreamSource(events, "ringbuffer", overwritten="skip", cluster=cluster)
    assert source.read("0", (events, 3), 100) == (list(range(15, 25)), (events, 25))
    assert "items 3 to 14 were overwritten" in caplog.text
    source.close()


def test_a_ringbuffer_that_begins_anew_is_an_error(hz, cluster, name, says):
    events = name("events")
    hz.get_ringbuffer(events).add_all([1, 2, 3]).result()
    source = StreamSource(events, "ringbuffer", cluster=cluster)
    with pytest.raises(SourceError) as caught:
        source.read("0", (events, 7), 100)
    says(caught, f"stream '{events}' was read up to item 7, and the next one would be 3", "start the job afresh")
    source.close()


def test_a_list_that_becomes_shorter_is_an_error(hz, cluster, name, says):
    listed = name("listed")
    hz.get_list(listed).add_all(list(range(100))).result()
    source = ListSource(listed, cluster)
    offset = source.start("0")
    hz.get_list(listed).clear().result()
    with pytest.raises(SourceError) as caught:
        source.read("0", offset, 1000)
    says(caught, f"list '{listed}' has become shorter", "items 0 to 100")
    source.close()


NAMES = (f"target-{number}" for number in itertools.count())


def drained(hz, buffer):
    ring = hz.get_ringbuffer(buffer).blocking()
    found = ring.read_many(ring.head_sequence(), 0, 100)
    return [getattr(item, "payload", item) for item in found]


READ_BACK = {
    ListSink: lambda hz, name: hz.get_list(name).get_all().result(),
    RingbufferSink: drained,
    ReliableTopicSink: lambda hz, name: drained(hz, f"_hz_rb_{name}"),
}


@pytest.mark.parametrize("kind", READ_BACK)
def test_what_appends_is_a_sink(hz, cluster, kind):
    check_sink(
        lambda: kind(next(NAMES), cluster=cluster),
        read_back=lambda sink: READ_BACK[kind](hz, sink.name),
        bad_item=None,
    )
    with pytest.raises(BadItem, match="cannot hold None") as caught:
        kind("target", cluster=cluster).prepare(["one", None])
    assert caught.value.index == 1


def test_a_map_is_a_sink(hz, cluster):
    check_sink(
        lambda: MapSink(next(NAMES), cluster=cluster),
        read_back=lambda sink: sorted(hz.get_map(sink.name).entry_set().result()),
        items=[("a", 1), ("b", 2), ("c", 3), ("d", 4)],
        bad_item="no pair",
    )


def test_a_set_is_a_sink(hz, cluster):
    check_sink(
        lambda: SetSink(next(NAMES), cluster=cluster),
        read_back=lambda sink: sorted(hz.get_set(sink.name).get_all().result()),
        items=["a", "b", "c"],
    )


def test_none_removes_a_key_and_the_last_write_wins(hz, cluster, name, written):
    mapped = name("mapped")
    hz.get_map(mapped).put_all({"gone": 1, "kept": 2}).result()
    sink = MapSink(mapped, cluster=cluster)
    written(sink, [("gone", None), ("a", 1), ("a", 2), ("b", 1), ("b", None), ("c", None), ("c", 3)])
    sink.close()
    assert dict(hz.get_map(mapped).entry_set().result()) == {"kept": 2, "a": 2, "c": 3}


def test_merging_and_updating(hz, cluster, name, written):
    merged, updated = name("merged"), name("updated")
    hz.get_map(merged).put_all({"a": 10, "x": 1}).result()
    sink = MapSink(merged, merge=lambda old, new: None if old == new else old + new, cluster=cluster)
    written(sink, [("a", 1), ("b", 1), ("a", 2), ("x", 1)], [("b", 5)])
    sink.close()
    assert dict(hz.get_map(merged).entry_set().result()) == {"a": 13, "b": 6}
    sink = MapSink(updated, update=lambda old, item: [*(old or []), item], cluster=cluster)
    written(sink, [("k", "one"), ("k", "two")])
    sink.close()
    assert hz.get_map(updated).get("k").result() == ["one", "two"]


def test_a_list_is_emptied_at_a_fresh_start_only(hz, cluster, name, written, context):
    listed = name("listed")
    hz.get_list(listed).add("old").result()
    sink = ListSink(listed, clear=True, cluster=cluster)
    sink.open(context(fresh=True))
    written(sink, ["new"])
    sink.pause()
    sink.open(context(fresh=False))
    written(sink, ["newer"], first=1)
    sink.close()
    assert hz.get_list(listed).get_all().result() == ["new", "newer"]


def test_a_full_ringbuffer_is_waited_for(hz, cluster, name, written):
    buffer = name("expiring")  # of 10 items, which stay a second
    sink = RingbufferSink(buffer, when_full="wait", cluster=cluster)
    written(sink, list(range(10)), list(range(10, 15)))
    sink.close()
    assert hz.get_ringbuffer(buffer).tail_sequence().result() == 14


def test_a_ringbuffer_that_stays_full_is_an_error(member, name, written, says):
    buffer = name("full")  # of 10 items, which stay an hour
    sink = RingbufferSink(
        buffer, when_full="wait", cluster={"cluster_members": [member.address], "cluster_connect_timeout": 0.5}
    )
    with pytest.raises(SinkError) as caught:
        written(sink, list(range(10)), [10])
    sink.close()
    says(caught, f"ringbuffer '{buffer}' (capacity 10) stayed full for 0.5 s", "larger capacity")


def test_structures_of_a_client(member, hz, name, tmp_path):
    items = [f"event {number}" for number in range(1500)]
    with jetbridge.connect(home=tmp_path / "home", hazelcast={"cluster_members": [member.address]}) as client:
        stream, listed, mapped = client.get_stream(name()), client.get_list(name()), client.get_map(name())
        stream.publish_all(items)
        stream.publish("last")
        assert len(stream.blocking()) == stream.size() == hz.get_ringbuffer(stream.name).size().result() == 1501
        listed.add_all([1, 2])
        mapped.put("k", "v")
        assert hz.get_list(listed.name).get_all().result() == [1, 2]
        assert hz.get_map(mapped.name).get("k").result() == "v"


def test_the_factories_give_them():
    assert isinstance(sources.hazelcast_map("m"), MapSource)
    assert isinstance(sources.hazelcast_list("l"), ListSource)
    assert sources.hazelcast_ringbuffer("r").kind == sources.hazelcast_reliable_topic("t").kind == "hazelcast stream"
    made = [sinks.hazelcast_list("l"), sinks.hazelcast_map("m"), sinks.hazelcast_set("s")]
    made += [sinks.hazelcast_ringbuffer("r"), sinks.hazelcast_reliable_topic("t")]
    assert [type(each) for each in made] == [ListSink, MapSink, SetSink, RingbufferSink, ReliableTopicSink]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sources.hazelcast_map(""), "name of a map must be a text"),
        (lambda: sources.hazelcast_ringbuffer("r", initial_position="now"), "initial_position must be 'earliest' or"),
        (lambda: sources.hazelcast_ringbuffer("r", overwritten="ignore"), "overwritten must be 'fail' or 'skip'"),
        (lambda: sinks.hazelcast_ringbuffer("r", when_full="drop"), "when_full must be 'overwrite' or 'wait'"),
        (lambda: sinks.hazelcast_map("m", merge=max, update=max), "two ways to one thing"),
        (lambda: sinks.hazelcast_map("m", merge=3), "merge must be callable; got 3"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(PipelineError, match=message):
        make()


def test_a_pipeline_for_a_cluster_needs_one(tmp_path):
    pipeline = jetbridge.Pipeline.create()
    pipeline.read_from(sources.hazelcast_map("m")).write_to(jetbridge.Pipeline.to_list("r"))
    with (
        jetbridge.connect(home=tmp_path / "home") as client,
        pytest.raises(PipelineError, match=r"hazelcast map 'm': the client has no Hazelcast cluster"),
    ):
        client.get_jet().submit(pipeline)


def test_a_note_that_somebody_else_has_put_into_the_journal_runs_nothing(hz, cluster, name, written, tmp_path):
    """What a sink has begun is read as data: whoever may write to the cluster must not run code in a worker."""

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    run = name("run")
    hz.get_map(journal.MAP).put(f"{run}/stage/0", [0, 0, 0, bytearray(b"\x01" + pickle.dumps(Evil())), 1]).result()
    with pytest.raises(SerializationError, match="mkdir"):
        written(MapSink(name("target"), merge=max, cluster=cluster), [("a", 2)], run=run)
    assert not (tmp_path / "ran").exists()
