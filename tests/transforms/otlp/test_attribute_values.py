import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.transforms.records import request, span
from transforms.columns import pc
from transforms.otlp.attribute_values import build_attributes, keep_attributes
from transforms.otlp.attributes import Attributes, ValueKind
from transforms.otlp.signals import TRACES


def built(*spans: Span) -> Attributes:
    groups = TRACES.parse([request(*spans)]).groups.flatten()
    items = pc.struct_field(pc.struct_field(groups, "scope_spans").flatten(), "spans").flatten()
    return build_attributes(pc.struct_field(items, "attributes"))


def only(value) -> tuple:
    found = built(span(1, attributes={"key": value}))
    return ValueKind(found.kind[0]).name, found.text[0].as_py(), found.number[0].as_py(), found.integer[0].as_py()


@pytest.mark.parametrize(
    ("value", "row"),
    [
        ("text", ("STRING", "text", None, None)),
        ("", ("STRING", "", None, None)),
        ("12", ("STRING", "12", 12.0, 12)),
        ("-7", ("STRING", "-7", -7.0, -7)),
        ("12.0", ("STRING", "12.0", 12.0, 12)),
        ("0.25", ("STRING", "0.25", 0.25, None)),
        ("1e3", ("STRING", "1e3", 1000.0, 1000)),
        ("9223372036854775807", ("STRING", "9223372036854775807", 9.223372036854775807e18, 2**63 - 1)),
        ("9223372036854775808", ("STRING", "9223372036854775808", 9.223372036854775808e18, None)),
        ("NaN", ("STRING", "NaN", None, None)),
        ("inf", ("STRING", "inf", None, None)),
        ("-inf", ("STRING", "-inf", None, None)),
        ("1e999", ("STRING", "1e999", None, None)),
        (" 12", ("STRING", " 12", None, None)),
        ("12abc", ("STRING", "12abc", None, None)),
        ("1_000", ("STRING", "1_000", None, None)),
        ("2026-01-01", ("STRING", "2026-01-01", None, None)),
        ("١٢", ("STRING", "١٢", None, None)),
        (42, ("INT", "42", 42.0, 42)),
        (-(2**63), ("INT", "-9223372036854775808", -(2.0**63), -(2**63))),
        (12.0, ("DOUBLE", "12", 12.0, 12)),
        (0.7, ("DOUBLE", "0.7", 0.7, None)),
        (1e21, ("DOUBLE", "1000000000000000000000", 1e21, None)),
        (1.5e-7, ("DOUBLE", "0.00000015", 1.5e-7, None)),
        (math.nan, ("DOUBLE", "nan", None, None)),
        (-math.inf, ("DOUBLE", "-inf", None, None)),
        (True, ("BOOL", "true", None, None)),
        (False, ("BOOL", "false", None, None)),
        (b"\x00\xff", ("BYTES", "AP8=", None, None)),
        (None, ("EMPTY", "", None, None)),
        ([], ("ARRAY", "[]", None, None)),
        (["a", 1, [2.5, None]], ("ARRAY", '["a",1,[2.5,null]]', None, None)),
        ([math.nan, b"\x00"], ("ARRAY", '[null,"AA=="]', None, None)),
        ({}, ("KVLIST", "{}", None, None)),
        ({'k"': {"x": [True]}, "n": 2**62}, ("KVLIST", '{"k\\"":{"x":[true]},"n":4611686018427387904}', None, None)),
    ],
)
def test_each_kind_of_value_has_its_text_and_its_numbers(value, row: tuple):
    assert only(value) == row


VALUES = st.one_of(
    st.text(max_size=8), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.booleans(), st.none()
)


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=3), VALUES, max_size=4), max_size=5))
def test_a_batch_gives_what_each_value_gives_alone_in_order(maps: list[dict]):
    found = built(*(span(number + 1, attributes=own) for number, own in enumerate(maps)))
    assert found.owners == len(maps)
    rows = zip(
        found.owner.tolist(),
        [found.keys[code] for code in found.code],
        zip(
            [ValueKind(kind).name for kind in found.kind],
            found.text.to_pylist(),
            found.number.to_pylist(),
            found.integer.to_pylist(),
            strict=True,
        ),
        strict=True,
    )
    expected = [(owner, key, only(value)) for owner, own in enumerate(maps) for key, value in own.items()]
    assert list(rows) == expected


def test_columns_have_the_types_of_the_contract():
    found = built(span(1, attributes={"a": "b", "n": 1}))
    assert found.owner.dtype == "int32" and found.code.dtype == "int32" and found.kind.dtype == "uint8"
    assert (found.text.type, found.number.type, found.integer.type) == (pa.large_string(), pa.float64(), pa.int64())


def test_attributes_that_are_left_keep_their_owners():
    found = built(span(1, attributes={"a": "x", "b": "y"}), span(2, attributes={"a": "z"}))
    kept = keep_attributes(found, found.kind != 0)
    assert kept is found
    last = keep_attributes(found, found.owner == 1)
    assert (last.owners, last.owner.tolist(), last.text.to_pylist()) == (2, [1], ["z"])
