"""Callbacks about emails: the check that they are genuine, and their meaning."""

import json
from datetime import UTC, datetime
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onboarding_worker.features.delivery import standard as email_callbacks
from onboarding_worker.senders.contract import DeliveryStatus, DeliveryUpdate, NotUnderstood, Stop
from onboarding_worker.web.webhooks import standard_webhooks
from tests.conftest import NOON
from tests.hostile.genuine import standard_webhooks as signed

KEY = "mail-key"
# Headers written from the specification, without the module that reads them.
headers_for = partial(signed, key=KEY.encode())
BOUNCED = {"type": "bounced", "message_id": "<4f0e9a55-1c1b@example.com>"}


def refused(body, headers, *, keys=(KEY,), now=NOON):
    return email_callbacks.refusal(headers, body, keys=keys, now=now)


def read(content):
    return email_callbacks.read(content if isinstance(content, bytes) else json.dumps(content).encode())


# Genuine or not


def test_the_specifications_own_example_is_genuine():
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    then = datetime.fromtimestamp(1614265330, UTC)
    keys = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
    assert refused(b'{"test": 2432232314}', headers, keys=keys, now=then) == ""
    assert refused(b'{"test": 2432232315}', headers, keys=keys, now=then) != ""


def test_a_callback_signed_by_the_specification_is_genuine():
    assert refused(b"{}", headers_for(b"{}")) == ""


def test_a_key_that_only_looks_like_base64_is_used_as_text():
    assert refused(b"{}", headers_for(b"{}", key=b"whsec_not base64"), keys=["whsec_not base64"]) == ""


def test_any_key_and_any_signature_will_do_while_they_are_rotated():
    headers = headers_for(b"{}")
    several = {**headers, "webhook-signature": f"v1a,abc v1,AAAA {headers['webhook-signature']}"}
    assert refused(b"{}", several, keys=["next", KEY]) == ""
    assert refused(b"{}", several, keys=["next"]) != ""
    assert refused(b"{}", several, keys=[]) != ""


def test_a_forged_one_is_refused():
    values = ["", "x", "1", "9" * 30, "²", "é", "\ud800", "msg_1.", "v1,", "-5"]
    names = ["webhook-id", "webhook-timestamp", "webhook-signature"]
    assert [
        (value, name) for value in values for name in names if refused(b"{}", {**headers_for(b"{}"), name: value}) == ""
    ] == []


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_copy_of_another_time_is_refused(minutes):
    late = minutes * 60
    assert refused(b"{}", headers_for(b"{}", late=late)) == "webhook-timestamp is more than 5 minutes from our time"
    assert refused(b"{}", headers_for(b"{}", late=late * 2 / 3)) == ""


def test_a_body_that_is_too_large_is_refused():
    body = b"a" * (email_callbacks.LARGEST + 1)
    assert refused(body, headers_for(body)) == "it is too large"


@settings(max_examples=60)
@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=60))
def test_no_header_raises(message_id, timestamp, signature):
    headers = {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": signature}
    assert isinstance(standard_webhooks.signing_key(headers, b"{}", [KEY], now=NOON), str)


# The content


def test_each_type_means_what_the_page_says(subtests):
    for content, status, stop in [
        ({"type": "delivered"}, DeliveryStatus.DELIVERED, None),
        ({"type": "bounced"}, DeliveryStatus.BOUNCED, Stop.BOUNCED),
        ({"type": "bounced", "permanent": True}, DeliveryStatus.BOUNCED, Stop.BOUNCED),
        ({"type": "bounced", "permanent": False}, DeliveryStatus.LATER, None),
        ({"type": "complained"}, None, Stop.COMPLAINED),
    ]:
        with subtests.test(content=content, status=status, stop=stop):
            update = read({**BOUNCED, **content})
            assert (update.status, update.stop, update.reference) == (status, stop, "4f0e9a55-1c1b")


@pytest.mark.parametrize("written", ["<4f0e9a55-1c1b@example.com>", "4f0e9a55-1c1b@example.com", "4f0e9a55-1c1b"])
def test_the_message_is_named_by_its_message_id_or_our_part_of_it(written):
    assert read({"type": "bounced", "message_id": written}).reference == "4f0e9a55-1c1b"


def test_an_address_alone_will_do():
    update = read({"type": "complained", "email": "vita@example.com", "at": "2026-11-20T13:59:00+02:00"})
    assert (update.reference, update.address, update.stop) == ("", "vita@example.com", Stop.COMPLAINED)
    assert update.happened_at == datetime(2026, 11, 20, 11, 59, tzinfo=UTC)
    assert "vita" not in repr(update)


MALFORMED = [
    b"",
    b"[]",
    b"\xff",
    b"NaN",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"type": "bounced", "type": "delivered", "email": "a@b"}',
    {},
    {"type": "bounced"},
    {"type": ["bounced"], "email": "vita@example.com"},
    {"type": "bounced", "email": "vita@example.com", "permanent": "no"},
    {"type": "bounced", "email": 7, "message_id": []},
    {"type": "bounced", "email": "vita@example.com", "message_id": 7},
    {"type": "bounced", "email": ["vita@example.com"], "message_id": "4f0e9a55-1c1b"},
    {"type": "bounced", "email": None},
]
OF_OTHERS = [
    {"type": "opened", "email": "vita@example.com"},
    {"type": "opened", "email": ["vita@example.com"]},
    {"type": "bounced", "email": "no address", "message_id": "<@>"},
    {"type": "bounced", "email": "a@b\n", "message_id": "../../x"},
    {"type": "bounced", "email": "a@" + "b" * 300, "message_id": "x" * 600},
    {"type": "bounced", "message_id": "\ud800"},
]


def test_a_callback_that_cannot_be_read_has_a_reason_without_a_value(subtests):
    for content, malformed in [(one, True) for one in MALFORMED] + [(one, False) for one in OF_OTHERS]:
        with subtests.test(content=content, malformed=malformed):
            update = read(content)
            assert isinstance(update, NotUnderstood)
            assert update.malformed is malformed
            assert "vita" not in update.reason


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from(["type", "message_id", "email", "permanent", "at"]),
        st.sampled_from(["bounced", "delivered", "a@b", "x"]) | st.text() | st.integers() | st.none() | st.booleans(),
    )
)
def test_no_body_raises(content):
    assert isinstance(read(json.dumps(content).encode()), DeliveryUpdate | NotUnderstood)
