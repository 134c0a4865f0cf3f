"""Stored values: exact round trips, and nothing runs."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime as dt
import enum
import fractions
import ipaddress
import math
import os
import pathlib
import pickle
import socket
import sys
import threading
import types
import uuid
import zoneinfo
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbridge.errors import SerializationError, UnknownTypeError
from jetbridge.store import decode, encode, forms, register_type, register_type_names, registered, registered_types


@register_type
class Color(enum.Enum):
    RED = 1
    GREEN = "g"


@register_type
class Access(enum.Flag):
    READ = 1
    WRITE = 2


@register_type
class Level(enum.IntEnum):
    LOW = 1


@register_type
@dataclasses.dataclass
class Trade:
    ticker: str
    price: Decimal
    tags: list[str] = dataclasses.field(default_factory=list)


@register_type
@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    value: int


@register_type
class Point(NamedTuple):
    x: int
    y: int


@register_type
class Order(pydantic.BaseModel):
    id: int
    lines: list[str] = []


class Outer:
    @dataclasses.dataclass
    class Inner:
        value: int


class Unregistered:
    pass


class Evil:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


scalars = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.complex_numbers()),
    *(st.dates(), st.datetimes(), st.datetimes(timezones=st.timezones()), st.times(), st.timedeltas()),
    *(st.decimals(), st.uuids(), st.fractions(), st.ip_addresses()),
)
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner), st.tuples(inner, inner), st.dictionaries(st.text(), inner), st.frozensets(st.integers())
    ),
    max_leaves=20,
)


def same(left: Any, right: Any) -> bool:
    """Equal and of equal types all the way down; NaN is the same as NaN."""
    if type(left) is not type(right):
        return False
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(map(same, left.values(), right.values()))
    return repr(left) == repr(right) or bool(left == right)


@given(trees)
def test_any_tree_of_values_comes_back(value: Any) -> None:
    back = decode(encode(value))
    assert same(back, value)


@pytest.mark.parametrize(
    "value",
    [
        *(1 << 20_000, -(2**63), 0, -1, 127, 128, -128, -129, "\ud800", "a\0b", b"", math.inf, True, False),
        *(range(3), slice(1, None, 2), bytearray(b"x"), {1, 2}, frozenset({"a"}), complex(1, 2), ...),
        collections.OrderedDict(b=1, a=2),
        collections.defaultdict(list, a=[1]),
        collections.Counter("abca"),
        collections.deque([1, 2], maxlen=2),
        types.SimpleNamespace(a=1),
        ValueError("bad", 3),
        dt.datetime(2024, 3, 31, 2, 30, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"), fold=1),
        dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc),
        fractions.Fraction(1, 3),
        uuid.UUID(int=7),
        pathlib.PurePosixPath("/a/b"),
        pathlib.Path("/a/b"),
        ipaddress.ip_network("10.0.0.0/8"),
        *(Color.RED, Color.GREEN, Access.READ | Access.WRITE, Level.LOW),
        Trade("AAPL", Decimal("1.10"), ["x"]),
        Slotted(4),
        Point(1, 2),
        Order(id=3, lines=["a"]),
        {Color.RED: [Trade("A", Decimal(1))] * 2},
    ],
    ids=lambda value: type(value).__name__,
)
def test_value_types_and_registered_classes_come_back(value: Any) -> None:
    back = decode(encode(value))
    assert type(back) is type(value)
    assert back == value or repr(back) == repr(value)
    nested = decode(encode([value, (value,)]))
    assert nested == [back, (back,)] or repr(nested) == repr([value, (value,)])


@pytest.mark.parametrize(
    "value",
    [np.int64(3), np.float32(1.5), np.datetime64("2024-01-01"), np.str_("é"), np.bool_(True), np.str_("")],
    ids=repr,
)
def test_numpy_scalars_keep_their_type(value: Any) -> None:
    back = decode(encode((value,)))[0]
    assert type(back) is type(value)
    assert back == value
    assert back.dtype == value.dtype


@pytest.mark.parametrize("shape", [(0,), (3,), (2, 3), (), (2, 0)])
def test_numpy_arrays_come_back_writable(shape: tuple[int, ...]) -> None:
    array = np.arange(math.prod(shape), dtype="<i4").reshape(shape)
    back = decode(encode(array))
    np.testing.assert_array_equal(back, array)
    assert back.dtype == array.dtype
    assert back.flags.writeable


def test_sharing_and_cycles_are_kept() -> None:
    cycle: list[Any] = [1]
    cycle.append(cycle)
    back = decode(encode(cycle))
    assert back[1] is back


def test_a_registered_class_is_found_by_its_qualified_name() -> None:
    register_type(Outer.Inner)
    assert decode(encode(Outer.Inner(3))) == Outer.Inner(3)
    assert f"{__name__}:Outer.Inner" in registered_types()


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (lambda x: x, "lambda"),
        ({"f": [len]}, "len"),
        ([os], "module os"),
        ([os.path.join], "join"),
        ([Unregistered], "class"),
        ([[].append], "append"),
        (np.array([object()]), "tolist"),
    ],
    ids=["lambda", "builtin", "module", "function", "class", "method", "objects"],
)
def test_code_is_refused_when_written(value: Any, named: str) -> None:
    with pytest.raises(SerializationError, match=named):
        encode(value)


@pytest.mark.parametrize("make", [threading.Lock, socket.socket, lambda: iter([1]), lambda: (i for i in ())])
def test_what_cannot_be_pickled_is_named(make: Any) -> None:
    value = make()
    try:
        # An iterator over a list pickles by calling builtins.iter, and that is code too.
        with pytest.raises(SerializationError, match="cannot store"):
            encode([value])
    finally:
        if isinstance(value, socket.socket):
            value.close()


def test_too_deep_a_value_is_an_error() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(SerializationError, match="nested too deeply"):
        encode(value)


def test_a_class_of_a_function_is_refused_with_its_name() -> None:
    class Local:
        pass

    with pytest.raises(SerializationError, match="Local"):
        encode([Local()])
    with pytest.raises(SerializationError, match="top level"):
        register_type(Local)
    with pytest.raises(SerializationError, match="takes a class"):
        register_type(3)  # type: ignore[arg-type]


def test_an_unregistered_class_is_named_and_not_built() -> None:
    data = encode([Unregistered()])
    with pytest.raises(UnknownTypeError, match=r"test_store_values\.Unregistered.*register_type\(Unregistered\)"):
        decode(data)


def _stack_global(module: str, name: str) -> bytes:
    return b"\x8c" + bytes([len(module)]) + module.encode() + b"\x8c" + bytes([len(name)]) + name.encode() + b"\x93"


def test_a_malicious_pickle_runs_nothing(tmp_path: pathlib.Path) -> None:
    target = tmp_path / "pwned"
    for protocol in range(6):
        with pytest.raises(UnknownTypeError, match="system"):
            decode(b"\x01" + pickle.dumps(Evil(str(target)), protocol))
    assert not target.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        *(("builtins", "eval"), ("builtins", "getattr"), ("builtins", "type"), ("builtins", "object")),
        *(("collections", "Counter"), ("collections", "namedtuple"), ("datetime", "datetime.strptime")),
        *(("jetbridge.store.forms", "os"), ("jetbridge.store.forms", "Maker"), ("jetbridge.store.values", "encode")),
        *(("__main__", "__builtins__"), ("__main__", "sys"), ("copyreg", "_reconstructor"), ("functools", "partial")),
    ],
)
def test_only_listed_names_resolve(module: str, name: str) -> None:
    with pytest.raises(UnknownTypeError):
        decode(b"\x01\x80\x05" + _stack_global(module, name) + b".")


def test_main_gives_its_own_classes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    main = sys.modules["__main__"]
    own = type("Own", (), {"__module__": "__main__", "method": lambda self: 1})
    monkeypatch.setattr(main, "Own", own, raising=False)
    monkeypatch.setattr(main, "Foreign", Unregistered, raising=False)
    assert decode(b"\x01\x80\x05" + _stack_global("__main__", "Own") + b".") is own
    for name in ("Foreign", "Own.method", "Missing"):
        with pytest.raises(UnknownTypeError, match="move it into a module"):
            decode(b"\x01\x80\x05" + _stack_global("__main__", name) + b".")


@pytest.mark.parametrize("known", forms.KNOWN.values(), ids=lambda known: repr(known)[:40])
def test_stored_data_cannot_change_what_it_may_name(known: Any) -> None:
    with pytest.raises((TypeError, AttributeError)):
        known.changed = 1
    # BUILD with a state for slots sets attributes: on a class it must fail as well.
    place = next(place for place, value in forms.KNOWN.items() if value is known)
    crafted = b"\x01\x80\x05" + _stack_global(*place) + b"N}\x8c\x07changedK\x01s\x86b."
    with pytest.raises(SerializationError):
        decode(crafted)
    assert not hasattr(known, "changed")


@pytest.mark.parametrize("name", sorted(forms.MAKERS))
def test_makers_take_their_own_arguments_only(name: str) -> None:
    for count in range(4):
        with pytest.raises((SerializationError, TypeError, AttributeError)):
            forms.MAKERS[name](*[[1]] * count)


@given(st.binary(max_size=60))
def test_arbitrary_bytes_never_raise_anything_else(data: bytes) -> None:
    for form in (b"", b"\x01", b"\x01\x80\x05"):
        with contextlib.suppress(SerializationError):
            decode(form + data)


def test_a_later_form_says_upgrade() -> None:
    with pytest.raises(SerializationError, match="upgrade"):
        decode(b"\x02abc")


def test_names_travel_to_another_process(launch: Any, finish: Any, tmp_path: pathlib.Path) -> None:
    (tmp_path / "shop_model.py").write_text("import enum\nclass Size(enum.Enum):\n    S = 1\n")
    source = """
        sys.path.insert(0, sys.argv[1])
        register_type_names(["shop_model:Size", "__main__:Gone"])
        print(registered_types(), decode(encode([__import__("shop_model").Size.S])))
        for name in ("shop_model:Missing", "no_such_module:X"):
            try:
                register_type_names([name])
            except SerializationError as error:
                print(error)
    """
    out = finish(launch(source, tmp_path)).splitlines()
    assert out[0] == "['shop_model:Size'] [<Size.S: 1>]"
    assert "shop_model.Missing" in out[1]
    assert "no_such_module" in out[2]
    assert ("shop_model", "Size") not in registered.by_name
    with pytest.raises(SerializationError):
        register_type_names(["no_such_module:X"])


def test_what_is_still_to_run_is_named_by_itself_and_with_what_to_do() -> None:
    async def fetched() -> int:
        return 1

    async def pages() -> Any:
        yield 1

    coroutine = fetched()
    try:
        for value, advice in (
            ((n for n in range(3)), "flat_map"),
            (coroutine, "map_using_service_async"),
            (pages(), "map_using_service_async"),
        ):
            for around in (value, [1, value], {"a": (value,)}):
                with pytest.raises(
                    SerializationError, match=rf"cannot store <.*\((async_)?(generator|coroutine)\).*{advice}"
                ):
                    encode(around)
    finally:
        coroutine.close()
