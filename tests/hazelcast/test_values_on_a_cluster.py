"""What goes into a cluster comes out of it unchanged, through the client and through jobs."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import itertools
import math
import uuid
import zoneinfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jetbridge
from jetbridge.connectors.base import BadItem
from jetbridge.connectors.hazelcast import pickles, plain
from jetbridge.connectors.hazelcast.appending import ListSink
from jetbridge.connectors.hazelcast.list_source import ListSource
from jetbridge.connectors.hazelcast.map_source import MapSource
from jetbridge.errors import SerializationError, UnknownTypeError

# isort: split
from hazelcast import HazelcastClient
from hazelcast.config import Config
from hazelcast.core import HazelcastJsonValue
from hazelcast.serialization import SerializationServiceV1
from hazelcast.serialization.api import CompactSerializer

UTC = datetime.timezone.utc
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


@dataclasses.dataclass
class Trade:
    ticker: str
    price: int


@jetbridge.register_type
class Names(list):
    """A list of its own kind."""


class TradeSerializer(CompactSerializer):
    def read(self, reader):
        return Trade(reader.read_string("ticker"), reader.read_int64("price"))

    def write(self, writer, item):
        writer.write_string("ticker", item.ticker)
        writer.write_int64("price", item.price)

    def get_type_name(self):
        return "trade"

    def get_class(self):
        return Trade


ITEMS = [
    True,
    *(0, -1, 127, 128, 2**31 - 1, 2**31, -(2**31) - 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**40),
    *(0.5, -0.0, 1e300, math.inf),
    *("", "plain", "grüße 🙂", "a\x00b", b"", b"\xff\x00", bytearray(b"abc")),
    *(datetime.date(2026, 1, 31), datetime.time(23, 59, 59, 999999)),
    *(datetime.datetime(2026, 1, 31, 12, 0, 0, 1), datetime.datetime(2026, 7, 1, tzinfo=UTC)),
    *(datetime.datetime(2026, 7, 1, 12, tzinfo=BERLIN), datetime.timedelta(seconds=1)),
    *(decimal.Decimal("1.10"), decimal.Decimal("-1E+3"), decimal.Decimal("Infinity")),
    uuid.UUID(int=7),
    *([], [1, [None, "x"], 2.5], (), ("é", 1), {"k": [1, {"l": None}]}, {1, 2}, frozenset({3})),
    (uuid.UUID(int=7), b"\xff"),
]


def test_items_come_back_as_they_were(hz, cluster, name, written):
    listed = name("listed")
    sink = ListSink(listed, cluster=cluster)
    written(sink, ITEMS)
    sink.close()
    source = ListSource(listed, cluster)
    found, _ = source.read("0", source.start("0"), 1000)
    source.close()
    assert [(type(each), each) for each in found] == [(type(each), each) for each in ITEMS]
    assert hz.get_list(listed).get_all().result() == ITEMS, "and a plain client reads the same"


def test_what_a_plain_client_writes_is_read(hz, cluster, name):
    listed, mapped = name("listed"), name("mapped")
    items = [
        1,
        -1,
        0.5,
        "é",
        [1, None],
        {"a": (1, {2})},
        ("x", b"a"),
        uuid.UUID(int=3),
        HazelcastJsonValue('{"a": 1}'),
    ]
    hz.get_list(listed).add_all(items).result()
    source = ListSource(listed, cluster)
    assert source.read("0", source.start("0"), 1000)[0] == items
    source.close()
    entries = {1: "one", "k": {"v": 1}, ("a", 2): [3], 2.5: uuid.UUID(int=4)}
    hz.get_map(mapped).put_all(entries).result()
    source = MapSource(mapped, cluster)
    assert dict(itertools.chain(*source.read_range("0", 0, None))) == entries
    source.close()


def test_nan_stays_what_it_is(cluster, name, written):
    listed = name("listed")
    sink = ListSink(listed, cluster=cluster)
    written(sink, [math.nan, decimal.Decimal("NaN")])
    sink.close()
    source = ListSource(listed, cluster)
    found, _ = source.read("0", source.start("0"), 10)
    source.close()
    assert math.isnan(found[0])
    assert found[1].is_nan()


PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary() | st.uuids()
VALUES = st.recursive(
    PLAIN | st.datetimes() | st.decimals(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=100)
@given(st.tuples(VALUES))
def test_what_is_pickled_comes_back(value):
    text = pickles.written(value)
    assert pickles.read(text) == value
    assert all(ord(letter) < 128 for letter in text), "any client reads it as UTF-8"


@pytest.mark.parametrize("value", [Names(["a", "b"]), Trade("A", 1), {"t": [Trade("B", 2)]}, decimal.Decimal("NaN")])
def test_objects_of_registered_classes_come_back(value):
    jetbridge.register_type(Trade)
    found = pickles.read(pickles.written(value))
    assert type(found) is type(value)
    assert repr(found) == repr(value)


@given(st.text() | st.integers(-(2**31), 2**31 - 1) | st.integers() | st.floats() | st.booleans())
def test_the_quick_way_writes_and_reads_what_the_client_does(value):
    service = SerializationServiceV1(Config())
    quick = plain.encoded(value)
    if quick is None:
        assert isinstance(value, bool) or not -(2**31) <= value < 2**31
        return
    written = service.to_data(value)
    assert quick == bytes(written.buffer)
    found = plain.decoder(service)(written)
    assert type(found) is type(value)
    assert found == value or value != value


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("cos\nsystem\n(S'echo pwned'\ntR.", UnknownTypeError),
        ("cbuiltins\neval\n(S'1'\ntR.", UnknownTypeError),
        ("c_codecs\nencode\n(S'x'\nS'idna'\ntR.", SerializationError),
        ("ccopyreg\n_reconstructor\n(ccopyreg\n_reconstructor\nc__builtin__\nobject\nNtR.", SerializationError),
        ("cuuid\nUUID\n(dS'x'\nI1\nsb.", SerializationError),
        ("garbage", SerializationError),
    ],
)
def test_a_pickle_that_would_run_something_is_refused(text, error):
    with pytest.raises(error):
        pickles.read(text)


@pytest.mark.parametrize(
    ("item", "parts"),
    [
        (lambda: 1, ("function", "cannot be kept in a Hazelcast cluster", "never code")),
        (open, ("cannot be kept in a Hazelcast cluster",)),
        ([1, {"f": print}], ("[1, {'f':", "cannot be kept")),
        ("\ud800", ("'\\ud800' (str)", "cannot be kept")),
    ],
)
def test_what_cannot_be_carried_is_named(cluster, says, item, parts):
    with pytest.raises(BadItem) as caught:
        ListSink("l", cluster=cluster).prepare(["fine", item])
    assert caught.value.index == 1
    says(caught, *parts, "map it to numbers, text, lists or dicts")


def test_classes_with_a_compact_serializer(member, name, tmp_path):
    listed, doubled = name("trades"), name("doubled")
    client = HazelcastClient(cluster_members=[member.address], compact_serializers=[TradeSerializer()])
    try:
        jet = client.get_jet(home=tmp_path / "home", parallelism=1)
        client.get_list(listed).add_all([Trade("A", 1), Trade("B", 2)]).result()
        pipeline = jetbridge.Pipeline.create()
        trades = pipeline.read_from(jetbridge.ListSource(listed))
        twice = trades.map(lambda trade: Trade(trade.ticker, trade.price * 2))
        twice.write_to(jetbridge.Pipeline.to_list(doubled))
        twice.map(lambda trade: (trade.ticker, trade)).write_to(jetbridge.Pipeline.to_map(doubled))
        jet.submit(pipeline).join(timeout=60)
        assert client.get_list(doubled).get_all().result() == [Trade("A", 2), Trade("B", 4)]
        assert client.get_map(doubled).get("B").result() == Trade("B", 4)
        pipeline = jetbridge.Pipeline.create()
        entries = pipeline.read_from(jetbridge.Pipeline.from_map(doubled))
        entries.map(lambda entry: entry[1].price).sort().write_to(jetbridge.Pipeline.to_list(name("prices")))
        job = jet.submit(pipeline)
        job.join(timeout=60)
        assert job.get_metrics().received_count == 2
    finally:
        client.shutdown()


def test_a_schema_that_only_the_job_knows(member, hz, name, tmp_path):
    """The bytes are made beside the user's functions, and the cluster must know their schema before they come."""
    made = name("made")
    config = {"cluster_members": [member.address], "compact_serializers": [TradeSerializer()]}
    with jetbridge.connect(home=tmp_path / "home", parallelism=2, hazelcast=config) as client:
        pipeline = jetbridge.Pipeline.create()
        numbers = pipeline.read_from(jetbridge.Pipeline.from_list("n", range(3)))
        numbers.map(lambda n: Trade(str(n), n)).write_to(jetbridge.Pipeline.to_list(made))
        client.get_jet().submit(pipeline).join(timeout=60)
        assert client.get_list(made).get_all() == [Trade("0", 0), Trade("1", 1), Trade("2", 2)]
    assert hz.get_list(made).size().result() == 3


def test_an_entry_that_cannot_be_read_is_named(hz, member, cluster, name, says):
    mapped = name("mapped")
    other = HazelcastClient(cluster_members=[member.address], compact_serializers=[TradeSerializer()])
    try:
        other.get_map(mapped).put("key 1", Trade("A", 1)).result()
        other.get_list(mapped).add_all([1, Trade("A", 1)]).result()
    finally:
        other.shutdown()
    source = MapSource(mapped, cluster)
    with pytest.raises(SerializationError) as caught:
        list(source.read_range("0", 0, None))
    source.close()
    says(caught, f"map '{mapped}': the value of key 'key 1' cannot be read", "trade")
    source = ListSource(mapped, cluster)
    with pytest.raises(SerializationError) as caught:
        source.read("0", source.start("0"), 10)
    source.close()
    says(caught, f"list '{mapped}': item 1 cannot be read", "trade")
