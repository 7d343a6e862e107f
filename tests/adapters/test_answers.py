import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_testing.accounts import NOW
from onboarding_worker.adapters.bodies import BadAnswer, json_object, optional_text, retry_after, text
from tests.suite.cases import differing

SECRET = "tk-5d0e8b31"


def test_what_is_not_a_json_object_is_a_bad_answer(subtests):
    cases = [
        b"",
        b"<html></html>",
        b"null",
        b"[1]",
        b'"text"',
        b"{",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1} trailing',
        b"\xff\xfe{}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"vendor": [{"note": "half of a pair \\ud83d"}]}',
        b'{"a NUL\\u0000": 1}',
    ]
    for body in cases:
        with subtests.test(body=body), pytest.raises(BadAnswer):
            json_object(body)


def test_a_byte_order_mark_is_no_reason_to_lose_a_session():
    assert json_object(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


def test_a_field_that_is_no_usable_text_is_named_and_not_shown(subtests):
    for value in [None, "", 5, True, ["x"], {"x": 1}, SECRET * 100, f"{SECRET}\n", f"\u202e{SECRET}", " "]:
        with subtests.test(value=value):
            with pytest.raises(BadAnswer, match="authToken") as caught:
                text({"authToken": value}, "authToken")

            assert SECRET not in str(caught.value)


def test_a_missing_field_is_named():
    with pytest.raises(BadAnswer, match="the answer has no scanRef"):
        text({}, "scanRef")


def test_an_optional_field_that_is_not_usable_is_empty():
    assert optional_text({"requestId": 5}, "requestId") == ""
    assert optional_text({"requestId": "01JZX0"}, "requestId") == "01JZX0"


LONGEST = timedelta(hours=1)


def test_retry_after_is_seconds_or_a_date_and_bounded():
    cases = [
        ("1", timedelta(seconds=1)),
        (" 30 ", timedelta(seconds=30)),
        ("0.5", timedelta(seconds=0.5)),
        ("Fri, 20 Nov 2026 08:02:00 GMT", timedelta(minutes=2)),
        ("Fri, 20 Nov 2026 08:02:00 -0000", timedelta(minutes=2)),
        ("Friday, 20-Nov-26 08:02:00 GMT", timedelta(minutes=2)),
        ("3601", LONGEST),
        ("3600000", LONGEST),
        ("9" * 400, LONGEST),
        ("Fri, 20 Nov 2099 08:02:00 GMT", LONGEST),
    ]
    assert differing(cases, lambda header: retry_after({"retry-after": header}, NOW, longest=LONGEST)) == []


def test_a_retry_after_that_cannot_be_read_is_none():
    cases = ["", "0", "-5", "soon", "NaN", "1e9", "Fri, 20 Nov 2026 07:59:59 GMT", "٣", "\x00"]
    waits = {header: retry_after({"retry-after": header}, NOW, longest=LONGEST) for header in cases}
    assert waits == dict.fromkeys(cases)


def test_no_retry_after_is_none():
    assert retry_after({}, NOW, longest=LONGEST) is None


@given(st.text())
def test_for_every_retry_after_the_wait_is_none_or_at_most_the_longest(header):
    wait = retry_after({"retry-after": header}, NOW, longest=LONGEST)

    assert wait is None or timedelta(0) < wait <= LONGEST


@given(st.binary())
def test_reading_bytes_gives_an_object_or_a_bad_answer(body):
    try:
        assert isinstance(json_object(body), dict)
    except BadAnswer:
        with pytest.raises((ValueError, AssertionError)):
            assert isinstance(json.loads(body.decode("utf-8-sig")), dict)
