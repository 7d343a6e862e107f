import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.core.foundation import quick_json

ENCODER, DECODER = json.JSONEncoder(separators=(",", ":")), json.JSONDecoder()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def kinds(value):
    """The value with the types of its numbers: 1 and 1.0 are equal."""
    if isinstance(value, list):
        return [kinds(inner) for inner in value]
    if isinstance(value, dict):
        return {key: kinds(inner) for key, inner in value.items()}
    return type(value), value


@given(VALUES)
@example(2**64)
@example(-(2**63) - 1)
@example({"id": 12345678901234567890123})
@example("half of a pair \ud83d")
def test_what_is_written_is_read_as_the_standard_library_reads_it(value):
    written = ENCODER.encode(value).encode()

    assert kinds(quick_json.read(written, DECODER)) == kinds(DECODER.decode(written.decode())) == kinds(value)


@given(VALUES.filter(lambda value: "\\ud" not in json.dumps(value)))
@example(2**64)
def test_the_standard_library_reads_what_is_written(value):
    assert kinds(json.loads(quick_json.written(value, ENCODER))) == kinds(value)


@given(st.binary() | st.text('{}[]",:0123456789.eE+-nulftrasNI\\ ').map(str.encode))
@example(b"1e400")
@example(b"NaN")
@example(b'{"a": 1, "a": 2}')
@example(b"-0")
@example(b"[" * 100_000)
def test_what_the_standard_library_refuses_is_refused(raw):
    def read(function):
        try:
            return kinds(function())
        except (ValueError, RecursionError):
            return "refused"

    assert repr(read(lambda: quick_json.read(raw, DECODER))) == repr(read(lambda: DECODER.decode(raw.decode())))


def test_what_is_no_json_is_refused_as_by_the_standard_library():
    with pytest.raises(TypeError, match="set is not JSON"):
        quick_json.written({"x": {1}}, ENCODER)
