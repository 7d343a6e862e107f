"""Webhooks of SendGrid and Mailgun, as they document them: who signed them, and what they say about our mails."""

import base64
import hashlib
import hmac
import json
import uuid
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.model.stops import About
from onboarding_worker.features.delivery import mailgun as mailgun_callbacks
from onboarding_worker.features.delivery import sendgrid as sendgrid_callbacks
from onboarding_worker.senders.contract import DeliveryStatus, DeliveryUpdate, NotUnderstood, Stop

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
KEY = uuid.UUID(int=7).hex
MESSAGE_ID = f"{KEY}@example.com"
SIGNING = "key-of-mailgun-with-32-characters"
PRIVATE = ec.generate_private_key(ec.SECP256R1())
PUBLIC = base64.b64encode(PRIVATE.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
GONE, BLOCKED = (DeliveryStatus.BOUNCED, Stop.BOUNCED), (DeliveryStatus.BLOCKED, None)


def mailgun(event: dict, *, at: datetime = NOON, key: str = SIGNING, token: str = "t" * 50) -> bytes:
    time = str(int(at.timestamp()))
    signature = hmac.new(key.encode(), f"{time}{token}".encode(), hashlib.sha256).hexdigest()
    about = {"message": {"headers": {"message-id": MESSAGE_ID}}, "timestamp": NOON.timestamp() + 0.25}
    signed = {"timestamp": time, "token": token, "signature": signature}
    return json.dumps({"signature": signed, "event-data": about | event}).encode()


def failed(code=None, message="", severity="permanent") -> dict:
    return {"event": "failed", "severity": severity, "delivery-status": {"enhanced-code": code, "message": message}}


def test_mailguns_events_mean_what_callbacks_of_ours_mean(subtests):
    cases = [
        ({"event": "delivered"}, (DeliveryStatus.DELIVERED, None)),
        ({"event": "complained"}, (None, Stop.COMPLAINED)),
        ({"event": "unsubscribed"}, (None, Stop.STOPPED)),
        (failed("5.1.1"), GONE),
        (failed(message="550 5.1.1 The email account does not exist"), GONE),
        (failed(message="No such user here"), GONE),
        (failed("5.7.1", "blocked, user unknown"), BLOCKED),
        (failed(), BLOCKED),
        (failed("4.2.2", severity="temporary"), (DeliveryStatus.LATER, None)),
        ({"event": "opened"}, (None, None)),
        ({"event": 7}, (None, None)),
    ]
    for event, meaning in cases:
        with subtests.test(event=event):
            body = mailgun(event)
            assert mailgun_callbacks.refusal({}, body, keys=["x" * 32, SIGNING], now=NOON) == ""
            update = mailgun_callbacks.read(body)
            assert isinstance(update, DeliveryUpdate)
            assert (update.reference, (update.status, update.stop)) == (KEY, meaning)
            assert update.happened_at == NOON + timedelta(seconds=0.25)


def test_what_mailgun_has_not_signed_just_now_is_refused():
    cases = [
        mailgun({}, key="another key of more than 32 characters"),
        mailgun({}, at=NOON - timedelta(hours=1)),
        mailgun({}, at=NOON + timedelta(hours=1)),
        mailgun({}).replace(b"tttt", b"tttu", 1),
        mailgun({}).replace(b"tttt", rb"\ud800", 1),  # half of a surrogate pair, which JSON can name
        b"",
        b"[]",
        b'{"signature": 1}',
        b'{"signature": {"timestamp": "1", "token": "x", "signature": "\\ud800"}}',
        b'{"signature": {"timestamp": "' + b"9" * 400 + b'", "token": "x", "signature": "x"}}',
    ]
    assert [body for body in cases if not mailgun_callbacks.refusal({}, body, keys=[SIGNING], now=NOON)] == []


def test_a_mailgun_signature_is_good_for_one_webhook_since_it_does_not_cover_the_content():
    changed = mailgun({"event": "delivered"}).replace(b"delivered", b"complained")
    assert mailgun_callbacks.refusal({}, changed, keys=[SIGNING], now=NOON) == ""
    assert mailgun_callbacks.named({}, changed) == mailgun_callbacks.named({}, mailgun({"event": "delivered"}))
    assert mailgun_callbacks.named({}, mailgun({}, token="u" * 50)) != mailgun_callbacks.named({}, mailgun({}))


def event(kind: object, **more: object) -> dict:
    return {"event": kind, "sg_event_id": "e1", "smtp-id": f"<{MESSAGE_ID}>", "timestamp": 1_795_176_000} | more


def headers(body: bytes, *, at: datetime = NOON) -> dict[str, str]:
    time = str(int(at.timestamp()))
    signature = base64.b64encode(PRIVATE.sign(time.encode() + body, ec.ECDSA(SHA256()))).decode()
    return {sendgrid_callbacks.SIGNATURE: signature, sendgrid_callbacks.TIME: time}


def test_sendgrids_events_mean_what_callbacks_of_ours_mean(subtests):
    cases = [
        (event("delivered"), (DeliveryStatus.DELIVERED, None)),
        (event("bounce", type="bounce", status="5.1.1", reason="500 unknown recipient"), GONE),
        (event("bounce", type="bounce", reason="550 5.1.1 no such user"), GONE),
        (event("bounce", type="blocked", status="5.1.1"), BLOCKED),
        (event("bounce", status="5.2.2", reason="mailbox full"), BLOCKED),
        (event("dropped", reason="Bounced Address"), BLOCKED),
        (event("deferred"), (DeliveryStatus.LATER, None)),
        (event("spamreport"), (None, Stop.COMPLAINED)),
        (event("group_unsubscribe"), (None, Stop.STOPPED)),
        (event("open"), (None, None)),
        (event(None), (None, None)),
    ]
    for given_, meaning in cases:
        with subtests.test(given_=given_):
            body = json.dumps([given_, {"event": "bounce", "sg_event_id": "e2"}, 7]).encode()
            assert sendgrid_callbacks.refusal(headers(body), body, keys=[PUBLIC], now=NOON) == ""
            updates = sendgrid_callbacks.read(body)
            assert not isinstance(updates, NotUnderstood)
            ((named, update),) = updates
            assert (named, update.reference, (update.status, update.stop)) == (b"sendgrid.e1", KEY, meaning)


def test_a_bounce_of_sendgrids_without_a_message_names_its_address():
    """So it reports what comes back after the recipient's server had taken the mail."""
    about = {"smtp-id": None, "email": "ona@example.org"}
    gone = event("bounce", type="bounce", status="5.1.1", reason="550 5.1.1 no such user") | about
    ((_, update),) = sendgrid_callbacks.read(json.dumps([gone, event("open") | about]).encode())
    assert (update.reference, update.address, (update.status, update.stop)) == ("", "ona@example.org", GONE)
    assert "ona" not in repr(update)
    full = event("bounce", status="5.2.2", reason="mailbox full") | about
    ((_, update),) = sendgrid_callbacks.read(json.dumps([full, full | {"email": "no address"}]).encode())
    assert (update.address, (update.status, update.stop)) == ("ona@example.org", BLOCKED)


def test_what_mail_services_refuse_us_for_is_about_us_and_what_they_do_not_explain_about_nobody():
    cases = [
        (event("dropped", reason="Recipient List over Package Quota"), About.US),
        (event("dropped", reason="of next year"), About.UNKNOWN),
        (event("bounce", type="blocked", bounce_classification="Reputation"), About.US),
        (event("bounce", type="blocked", bounce_classification="Unclassified"), About.UNKNOWN),
        (event("bounce", type="bounce", status="5.7.26"), About.US),
        (event("bounce", type="bounce", status="5.7.1"), About.CUSTOMER),
    ]
    for given_, about in cases:
        ((_, update),) = sendgrid_callbacks.read(json.dumps([given_]).encode())
        assert (given_, update.about, update.stop) == (given_, about, None)
    cases = [
        (failed("5.7.1") | {"reason": "espblock"}, About.US),
        (failed("5.1.1") | {"reason": "suppress-bounce"}, About.CUSTOMER),
        (failed("5.7.509"), About.UNKNOWN),
    ]
    for given_, about in cases:
        update = mailgun_callbacks.read(mailgun(given_))
        assert (given_, update.about, update.stop) == (given_, about, None)


def test_a_name_that_a_terminal_or_a_database_would_not_take_is_none():
    for name in ("a\x00b", "a\x1b[2J", "a\nb", 7, None):
        ((_, update),) = sendgrid_callbacks.read(json.dumps([event(name)]).encode())
        assert update.event == "event"
        assert mailgun_callbacks.read(mailgun({"event": name})).event == "event"


def test_what_sendgrid_has_not_signed_is_refused():
    body = b"[]"
    good = headers(body)
    for changed, content, keys in (
        ({}, body, [PUBLIC]),
        (good, b"[ ]", [PUBLIC]),
        (good, body, []),
        (good, body, ["no key", base64.b64encode(b"x" * 90).decode()]),
        (headers(body, at=NOON - timedelta(days=2)), body, [PUBLIC]),
        (good | {sendgrid_callbacks.TIME: "9" * 400}, body, [PUBLIC]),
        (good | {sendgrid_callbacks.SIGNATURE: "\ud800"}, body, [PUBLIC]),
    ):
        assert sendgrid_callbacks.refusal(changed, content, keys=keys, now=NOON)


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_refused_or_read_without_an_exception(body: bytes):
    assert mailgun_callbacks.refusal({}, body, keys=[SIGNING], now=NOON)
    assert isinstance(mailgun_callbacks.read(body), NotUnderstood)
    assert isinstance(sendgrid_callbacks.read(body), NotUnderstood | list)
