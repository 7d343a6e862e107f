import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.database.tables import Inbox
from onboarding_worker.core.model.incoming import Event, EventKind
from onboarding_worker.events.cloudevents import (
    LARGEST,
    LONGEST,
    Listed,
    Unreadable,
    cloud_event,
    is_json,
    read,
    read_list,
)
from tests.events.outgoing import event as outgoing

CLOUD = "application/cloudevents+json"
JSON = "application/json; charset=utf-8"
DATA = {"customer_id": "C-1", "email": "ona@example.com", "tags": ["a", "b"]}
ATTRIBUTES = {"specversion": "1.0", "id": "7", "source": "/signup", "type": "onboarding.requested"}
TIME = "2026-11-20T12:00:00.25+02:00"
AT = datetime(2026, 11, 20, 10, 0, 0, 250_000, tzinfo=UTC)


def bytes_of(value):
    return json.dumps(value).encode()


def structured(content_type=CLOUD, **changes):
    found = {"data": DATA} | ATTRIBUTES | changes
    body = {name: value for name, value in found.items() if value is not ...}
    return read(bytes_of(body), content_type=content_type, attributes={})


def binary(body=None, content_type=JSON, **changes):
    attributes = {name: value for name, value in (ATTRIBUTES | changes).items() if value is not ...}
    return read(bytes_of(DATA) if body is None else body, content_type=content_type, attributes=attributes)


def plain(value, *, attributes=None, kind=None, content_type=JSON):
    body = value if isinstance(value, bytes) else bytes_of(value)
    return read(body, content_type=content_type, attributes=attributes or {}, plain=kind)


def seen(event):
    assert isinstance(event, Event), event
    return (event.source, event.id, event.kind, dict(event.data), event.occurred_at)


def why(found):
    assert isinstance(found, Unreadable), "it was read"
    return found.reason


EXPECTED = ("/signup", "7", EventKind.REQUESTED, DATA, AT)


def test_a_structured_event_is_known_by_its_media_type_or_by_its_specversion():
    cases = [CLOUD, f"{CLOUD}; charset=utf-8", "Application/CloudEvents+JSON", JSON, ""]
    assert [
        (content_type, got) for content_type in cases if (got := seen(structured(content_type, time=TIME))) != EXPECTED
    ] == []


def test_a_binary_event_has_its_attributes_in_the_headers():
    cases = [JSON, "", "application/vnd.example.signup+json", "text/json"]
    assert [
        (content_type, got)
        for content_type in cases
        if (got := seen(binary(content_type=content_type, time=TIME))) != EXPECTED
    ] == []


def test_data_may_be_json_within_base64():
    encoded = b64encode(bytes_of(DATA)).decode()
    assert seen(structured(data=..., data_base64=encoded, time=TIME)) == EXPECTED
    assert seen(structured(data=None, data_base64=encoded, time=TIME)) == EXPECTED


def test_extensions_are_ignored_and_an_attribute_that_is_null_is_absent():
    assert seen(structured(time=None, traceparent="00-0", subject=None, anything={"of": "any kind"}))[4] is None
    assert isinstance(binary(traceparent="00-0"), Event)


def test_headers_are_ignored_where_the_body_has_the_envelope():
    body = bytes_of(ATTRIBUTES | {"data": DATA})
    other = ATTRIBUTES | {"id": "8", "type": "customer.erased"}
    assert seen(read(body, content_type=CLOUD, attributes=other))[1:3] == ("7", EventKind.REQUESTED)


@pytest.mark.parametrize("marks", [1, 2])
def test_marks_at_the_start_are_no_part_of_the_json(marks):
    assert isinstance(binary(b"\xef\xbb\xbf" * marks + bytes_of(DATA)), Event)


@pytest.mark.parametrize("missing", ATTRIBUTES)
def test_each_required_attribute_is_missed_by_name(missing):
    assert why(structured(**{missing: ...})) == f"{missing} is missing"
    if missing not in ("specversion", "type"):
        assert why(binary(**{missing: ...})) == f"{missing} is missing"


def test_a_binary_event_without_specversion_is_not_read_as_plain_json():
    assert why(binary(specversion=...)) == "specversion is missing"


def test_a_problem_of_an_envelope_names_its_attribute():
    cases = [
        ({"specversion": "0.3"}, "specversion is not 1.0"),
        ({"specversion": "1.0.2"}, "specversion is not 1.0"),
        ({"specversion": 1.0}, "specversion is not a text"),
        ({"id": 7}, "id is not a text"),
        ({"id": ""}, "id is empty"),
        ({"id": "  "}, "id is empty"),
        ({"id": "a\nb"}, "id has characters that CloudEvents forbids"),
        ({"id": "a\x7fb"}, "id has characters that CloudEvents forbids"),
        ({"source": "a\x9f"}, "source has characters that CloudEvents forbids"),
        ({"source": "a\ufdd0"}, "source has characters that CloudEvents forbids"),
        ({"source": "a\U0010ffff"}, "source has characters that CloudEvents forbids"),
        ({"id": "i" * (LONGEST + 1)}, "id has more than 200 characters"),
        ({"source": "s" * (LONGEST + 1)}, "source has more than 200 characters"),
        ({"type": "onboarding.request"}, "type is not one of onboarding.requested, "),
        ({"time": "2026-11-20T12:00:00"}, "time is not in the form of RFC 3339"),
        ({"time": "2026-11-20"}, "time is not in the form of RFC 3339"),
        ({"time": "2026-W47-5T12:00:00Z"}, "time is not in the form of RFC 3339"),
        ({"time": "٢٠٢٦-11-20T12:00:00Z"}, "time is not in the form of RFC 3339"),
        ({"time": "2026-02-30T12:00:00Z"}, "time does not exist"),
        ({"time": "2026-11-20T12:00:00+25:00"}, "time does not exist"),
        ({"time": "0001-01-01T00:00:00+10:00"}, "time does not exist"),
        ({"time": "9999-12-31T23:59:59-10:00"}, "time does not exist"),
        ({"time": 1763640000}, "time is not a text"),
        ({"datacontenttype": "text/xml"}, "datacontenttype is not JSON"),
        ({"data": ...}, "data is missing"),
        ({"data": "text"}, "data is not an object"),
        ({"data": [DATA]}, "data is not an object"),
        ({"data_base64": "e30="}, "it has both data and data_base64"),
        ({"data": ..., "data_base64": "e30!!=="}, "data_base64 is not base64"),
        ({"data": ..., "data_base64": "é"}, "data_base64 is not base64"),
        ({"data": ..., "data_base64": 5}, "data_base64 is not base64"),
        ({"data": ..., "data_base64": "e30"}, "data_base64 is not base64"),
        ({"data": ..., "data_base64": "W10="}, "data_base64 is not a JSON object"),
        ({"data": ..., "data_base64": "ew=="}, "data_base64 is not JSON at character 2"),
        ({"data": ..., "data_base64": "eyJhIjoxZTQwMH0="}, "data_base64 has a number that is too large"),
        ({"data": {"customer_id": "a\x00"}}, "the body has a NUL character or half of a surrogate pair"),
        ({"data": {"deep": [{"\ud800": 1}]}}, "the body has a NUL character or half of a surrogate pair"),
    ]
    assert [
        (changes, got) for changes, reason in cases if not (got := why(structured(**changes))).startswith(reason)
    ] == []


def test_times_are_read_as_rfc_3339_has_them():
    cases = {
        "2026-11-20T12:00:00Z": datetime(2026, 11, 20, 12, tzinfo=UTC),
        "2026-11-20t12:00:00z": datetime(2026, 11, 20, 12, tzinfo=UTC),
        "2026-11-20T12:00:00.123456789-00:30": datetime(2026, 11, 20, 12, 30, 0, 123456, tzinfo=UTC),
        "2026-11-20T12:00:00.5Z": datetime(2026, 11, 20, 12, 0, 0, 500_000, tzinfo=UTC),
        "2016-12-31T23:59:60Z": datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC),
    }
    assert {given: seen(structured(time=given))[4] for given in cases} == cases


# Of each rule that JSON has, what breaks it and what Python's own decoder would let pass.
NO_JSON = [
    b"", b" ", b"{", b"}", b"null", b"[]", b'"text"', b"17", b"{}{}", b"{'a': 1}", b'{"a": NaN}', b'{"a": -Infinity}',
    b'{"a": 1e999}', b'{"a": 01}', b'{"a": +1}', b'{"a": .5}', b'{"a": 1.}', b'{"a": 0x1}', b'{"a": tru}', b'{"a" 1}',
    b'{"a": 1,}', b'{,}', b'{"a": "\n"}', b'{"a": "\\x"}', b'{"a": "\\u12"}', b'{"a": 1, "a": 1}',
    b'{"a": {"b": 1, "b": 2}}',
    b'{"a": "\xff"}', b'{"a": "\xed\xa0\x80"}', b'{"a": "\\ud800"}', b'{"a": "\\u0000"}', b'{"\\u0000": 1}',
    b'{"a": 1} x',
    b"\xff\xfe{\x00}\x00", b"\x00{}", b'{"a": ' + b"9" * 5000 + b"}", b'{"a":' + b"[" * 100_000, b'{"a":' * 100_000,
    b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}",
]  # fmt: skip


def test_what_is_not_exactly_one_json_object_is_refused_whatever_carries_it(subtests):
    for body in NO_JSON:
        with subtests.test(body=body):
            for content_type, attributes in (
                (CLOUD, {}),
                (JSON, {}),
                (JSON, ATTRIBUTES),
                ("", {"type": "customer.erased"}),
            ):
                found = read(body, content_type=content_type, attributes=attributes, plain=EventKind.REQUESTED)
                assert isinstance(found, Unreadable)


def test_an_event_may_be_as_large_as_the_bound_and_no_larger():
    body = bytes_of(DATA)
    assert isinstance(binary(body + b" " * (LARGEST - len(body))), Event)
    assert why(binary(body + b" " * (LARGEST - len(body) + 1))) == "the event has more than 262,144 bytes"


def test_other_media_types_are_not_guessed_at(subtests):
    for content_type in [
        "text/plain",
        "application/cloudevents-batch+json",
        "application/cloudevents+avro",
        "application/octet-stream",
        "x",
    ]:
        with subtests.test(content_type=content_type):
            assert not is_json(content_type)
            assert why(binary(content_type=content_type)).startswith("the content type is not JSON")


def test_plain_json_may_have_its_type_in_a_header():
    event = plain(DATA, attributes={"type": "customer.updated"}, kind=EventKind.REQUESTED)
    assert seen(event)[0] == "plain"
    assert seen(event)[2:] == (EventKind.UPDATED, DATA, None)


def test_plain_json_may_have_its_type_next_to_its_data():
    event = {"type": "customer.erased", "data": DATA, "id": "7", "source": "/signup", "time": TIME, "more": 1}
    assert seen(plain(event)) == ("/signup", "7", EventKind.ERASED, DATA, AT)
    assert isinstance(plain(event, attributes={"type": "customer.erased"}), Event)
    assert why(plain(event, attributes={"type": "customer.updated"})).startswith("type next to the data differs")


def test_plain_json_without_a_type_has_the_configured_one():
    for value in (DATA, {"data": DATA}):
        assert seen(plain(value, kind=EventKind.CANCELLED))[2:] == (EventKind.CANCELLED, DATA, None)
        assert why(plain(value)).startswith("type is missing: neither")
    # A list's own column may be called type: then it is not the event's type.
    assert seen(plain({"type": "company"}, kind=EventKind.REQUESTED))[3] == {"type": "company"}


def test_plain_json_without_an_id_is_known_again_by_its_bytes_and_by_what_it_asks_for():
    def of(value, kind="customer.erased"):
        return seen(plain(value, attributes={"type": kind}))[1]

    assert of(DATA) == of(DATA)
    assert len({of(DATA), of(DATA | {"customer_id": "C-2"}), of(DATA, "onboarding.cancelled")}) == 3
    assert len(of(DATA)) <= LONGEST


def test_plain_json_is_checked_as_a_cloudevent_is(subtests):
    cases = [
        ({"id": 7}, "id is not a text"),
        ({"id": "a\tb"}, "id has characters"),
        ({"source": "s" * 201}, "source has more than 200"),
        ({"time": "yesterday"}, "time is not in the form of RFC 3339"),
        ({"type": "signup"}, "type is not one of"),
        ({"data": "text"}, "data is not an object"),
        ({"data": None}, "data is missing"),
    ]
    for changes, reason in cases:
        with subtests.test(changes=changes):
            event = {"type": "onboarding.requested", "data": DATA} | changes
            assert why(plain(event, kind=EventKind.REQUESTED)).startswith(reason)


def test_no_reason_repeats_what_was_written():
    secret = "ona@example.com"
    for name in (*ATTRIBUTES, "time", "datacontenttype", "data", "data_base64"):
        found = structured(**{name: secret * 20, secret: secret})
        assert isinstance(found, Event) or "ona" not in repr(found)
    assert "ona" not in repr(binary(b'{"%s": 1, "%s": 1}' % (secret.encode(), secret.encode())))
    assert "ona" not in repr(structured())


def test_what_is_read_fits_the_columns_that_it_is_kept_in():
    columns = Inbox.__table__.c
    assert columns.source.type.length == columns.event_id.type.length == LONGEST


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), min_size=1, max_size=50).filter(str.strip)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
TIMES = st.datetimes(timezones=st.just(UTC)) | st.none()


@given(TEXTS, TEXTS, st.sampled_from(EventKind), st.dictionaries(TEXTS, VALUES, max_size=4), TIMES, st.booleans())
def test_what_was_written_is_what_is_read_in_every_form(source, id_, kind, data, at, as_base64):
    time = {} if at is None else {"time": at.isoformat()}
    attributes = {"specversion": "1.0", "id": id_, "source": source, "type": kind.value} | time
    body = {"data_base64": b64encode(bytes_of(data)).decode()} if as_base64 else {"data": data}
    expected = (source, id_, kind, data, at)
    assert seen(read(bytes_of(attributes | body), content_type=CLOUD, attributes={})) == expected
    assert seen(read(bytes_of(data), content_type=JSON, attributes=attributes)) == expected
    del attributes["specversion"]
    assert seen(read(bytes_of(attributes | {"data": data}), content_type=JSON, attributes={})) == expected


NAMES = st.sampled_from(["specversion", "id", "source", "type", "time", "datacontenttype", "data", "data_base64"])
ANYTHING = st.text() | st.sampled_from(["1.0", "onboarding.requested", JSON, TIME, ""])
NEARLY = st.dictionaries(NAMES | st.text(), ANYTHING | VALUES | st.just(DATA))
BODIES = st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")) | NEARLY.map(bytes_of)


@given(BODIES, st.sampled_from([CLOUD, JSON, ""]) | st.text(), st.dictionaries(NAMES | st.text(), ANYTHING))
def test_reading_never_raises_and_names_nothing_it_read(body, content_type, attributes):
    for kind in (None, EventKind.REQUESTED):
        found = read(body, content_type=content_type, attributes=attributes, plain=kind)
        assert isinstance(found, Unreadable | Event)
        if isinstance(found, Event):
            json.dumps(dict(found.data)).encode()
            found.source.encode()
            found.id.encode()
            assert 0 < len(found.source) <= LONGEST
            assert 0 < len(found.id) <= LONGEST


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
ENVELOPES = st.fixed_dictionaries(
    {},
    optional={
        "specversion": st.just("1.0") | VALUES,
        "id": st.just("7") | VALUES,
        "source": st.just("/signup") | VALUES,
        "type": st.sampled_from(list(EventKind)) | VALUES,
        "data": st.just(DATA) | VALUES,
    },
)


@given(st.lists(ENVELOPES | VALUES, max_size=5), st.sampled_from([None, 1]))
def test_an_event_of_a_list_is_read_as_if_it_came_alone(values, indent):
    listed = read_list(json.dumps(values, indent=indent).encode())

    assert isinstance(listed, list)
    for value, one in zip(values, listed, strict=True):
        alone = read(bytes_of(value), content_type=CLOUD, attributes={})
        if isinstance(alone, Event):
            assert seen(one.event) == seen(alone)
            assert one.id == alone.id
        else:
            assert why(one.event) == why(alone).replace("the body", "the event")


@given(st.binary(max_size=60) | st.text('[]{},:1"ae ', max_size=30).map(str.encode))
def test_any_bytes_are_a_list_of_events_or_say_why_not(body):
    listed = read_list(body)
    assert isinstance(listed, Unreadable) or all(isinstance(one, Listed) for one in listed)
    if isinstance(listed, list):
        assert len(listed) == len(json.loads(body.decode("utf-8-sig")))


def test_the_same_event_is_the_same_bytes_however_often_and_whenever_it_is_sent():
    assert cloud_event(outgoing(1)) == cloud_event(outgoing(1, attempts=7))


def test_times_are_utc():
    at = datetime(2026, 11, 20, 14, 0, tzinfo=timezone(timedelta(hours=2)))
    assert json.loads(cloud_event(outgoing(1, occurred_at=at)))["time"] == "2026-11-20T12:00:00Z"


def test_sequences_compare_as_texts_as_their_numbers_do():
    numbers = [1, 9, 10, 2**31, 2**63 - 1]
    sequences = [json.loads(cloud_event(outgoing(number)))["sequence"] for number in numbers]
    assert sequences == sorted(sequences)
    assert len(set(sequences)) == len(numbers)
