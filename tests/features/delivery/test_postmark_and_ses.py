"""Webhooks of Postmark and Amazon SES, as they document them: what they say about our mails."""

import base64
import json
import uuid
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.features.delivery import postmark as postmark_callbacks
from onboarding_worker.features.delivery import ses as ses_callbacks
from onboarding_worker.senders.contract import DeliveryStatus, DeliveryUpdate, NotUnderstood, Stop
from tests.features.delivery.sns import NOON, ses

KEY = uuid.UUID(int=7).hex
MESSAGE_ID = f"<{KEY}@example.com>"
GONE, BLOCKED = (DeliveryStatus.BOUNCED, Stop.BOUNCED), (DeliveryStatus.BLOCKED, None)
LATER, NOTHING = (DeliveryStatus.LATER, None), (None, None)
SECRET = "password-of-the-webhook-32-characters"
ANY_BYTES = st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass"))


def bounced(kind: object, part: str = "General", **recipient: str) -> dict:
    return {"bounceType": kind, "bounceSubType": part, "bouncedRecipients": [{"emailAddress": "o@e.com", **recipient}]}


def test_what_ses_publishes_means_what_callbacks_of_ours_mean(subtests):
    cases = [
        ("Delivery", {}, (DeliveryStatus.DELIVERED, None)),
        ("Bounce", bounced("Permanent", status="5.1.1", diagnosticCode="smtp; 550 5.1.1 user unknown"), GONE),
        ("Bounce", bounced("Permanent", diagnosticCode="smtp; 550 No such user here"), GONE),
        ("Bounce", bounced("Permanent", status="5.7.1"), BLOCKED),
        ("Bounce", bounced("Permanent", "OnAccountSuppressionList", status="5.1.1"), BLOCKED),
        ("Bounce", bounced("Transient", "MailboxFull", status="5.2.2"), LATER),
        ("Bounce", bounced("Transient", "ContentRejected"), BLOCKED),
        ("Bounce", bounced("Undetermined"), BLOCKED),
        ("Bounce", {"bounceType": ["x"], "bouncedRecipients": [[]]}, BLOCKED),
        ("Complaint", {"complaintFeedbackType": "abuse"}, (None, Stop.COMPLAINED)),
        ("Complaint", {"complaintFeedbackType": "not-spam"}, NOTHING),
        ("Complaint", {"complaintSubType": "OnAccountSuppressionList"}, BLOCKED),
        ("DeliveryDelay", {"delayType": "MailboxFull"}, LATER),
        ("Reject", {"reason": "Bad content"}, BLOCKED),
        ("Subscription", {"newTopicPreferences": {"unsubscribeAll": True}}, (None, Stop.STOPPED)),
        ("Open", {}, NOTHING),
    ]
    for kind, part, meaning in cases:
        with subtests.test(kind=kind, part=part, meaning=meaning):
            for text in (
                ses(kind, part, MESSAGE_ID),
                ses(kind, part, MESSAGE_ID).replace("notificationType", "eventType"),
            ):
                update = ses_callbacks.read(text)
                assert isinstance(update, DeliveryUpdate)
                assert (update.reference, (update.status, update.stop)) == (KEY, meaning)
            if meaning[0] is not None:
                assert update.happened_at == NOON - timedelta(minutes=1)


def test_without_the_mails_headers_it_is_said_what_to_switch_on():
    found = ses_callbacks.read(ses("Delivery", {}, None))
    assert isinstance(found, NotUnderstood)
    assert "original headers" in found.reason


def webhook(kind: str, **fields: object) -> bytes:
    usual = {"RecordType": kind, "MessageID": "883953f4", "Metadata": {"Message": KEY}}
    return json.dumps(usual | {"DeliveredAt": "2026-11-20T12:00:00.2500000Z"} | fields).encode()


def changed(reason: str | None, *, stops: bool = True, origin: str = "Recipient") -> bytes:
    return webhook("SubscriptionChange", SuppressSending=stops, SuppressionReason=reason, Origin=origin)


def test_postmarks_webhooks_mean_what_callbacks_of_ours_mean(subtests):
    cases = [
        (webhook("Delivery"), (DeliveryStatus.DELIVERED, None)),
        (webhook("SpamComplaint"), (None, Stop.COMPLAINED)),
        (webhook("Bounce", Type="HardBounce", Details="smtp;550 5.1.1 The email account does not exist"), GONE),
        (webhook("Bounce", Type="HardBounce", Details="550 No such user here"), GONE),
        (webhook("Bounce", Type="HardBounce", Details="550 5.7.1 policy"), BLOCKED),
        (webhook("Bounce", Type="HardBounce", Details=7), BLOCKED),
        (webhook("Bounce", Type="SpamNotification"), BLOCKED),
        (webhook("Bounce", Type="SoftBounce", Details="552 5.2.2 mailbox full"), LATER),
        (webhook("Bounce", Type="AutoResponder"), NOTHING),
        (webhook("Bounce", Type="Unsubscribe"), (None, Stop.STOPPED)),
        (webhook("Bounce", Type=["HardBounce"]), BLOCKED),
        (changed("ManualSuppression"), (None, Stop.STOPPED)),
        (changed("SpamComplaint"), (None, Stop.COMPLAINED)),
        (changed("HardBounce"), NOTHING),
        (webhook("Open"), NOTHING),
    ]
    for body, meaning in cases:
        with subtests.test(body=body):
            update = postmark_callbacks.read(body)
            assert isinstance(update, DeliveryUpdate)
            assert (update.reference, (update.status, update.stop)) == (KEY, meaning)
            assert update.happened_at == NOON + timedelta(seconds=0.25)
            assert not update.resume


def test_a_person_may_take_back_a_wish_of_their_own_at_postmark_and_an_operator_does_it_here():
    found = [postmark_callbacks.read(changed(None, stops=False, origin=origin)) for origin in ("Recipient", "Admin")]
    assert [update.resume for update in found if isinstance(update, DeliveryUpdate)] == [True, False]


def test_what_was_entered_at_postmark_by_hand_names_the_address_alone():
    body = webhook("SubscriptionChange", Metadata={}, SuppressSending=True, Recipient="ona@example.com")
    update = postmark_callbacks.read(body.replace(b"ona", b"vita"))
    assert isinstance(update, DeliveryUpdate)
    assert (update.reference, update.address) == ("", "vita@example.com")
    assert isinstance(postmark_callbacks.read(webhook("Bounce", Metadata={}, Email="o@example.com")), NotUnderstood)


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("given_", [basic(f"postmark:{SECRET}"), basic(f":{SECRET}"), f"Bearer {SECRET}"])
def test_postmark_shows_the_key_as_a_password_or_as_a_bearer_token(given_):
    assert postmark_callbacks.unsigned({"authorization": given_}, ["x" * 32, SECRET]) == ""
    assert postmark_callbacks.unsigned({"authorization": given_}, ["x" * 32])


@given(ANY_BYTES)
def test_any_bytes_are_refused_or_read_without_an_exception(body: bytes):
    assert isinstance(postmark_callbacks.read(body), NotUnderstood)
    assert isinstance(ses_callbacks.read(body.decode("utf-8", "surrogateescape")), NotUnderstood)
    assert isinstance(ses_callbacks.read_message(body, topics=["x"]), str)
    assert ses_callbacks.read_certificate(body) is None
    assert postmark_callbacks.unsigned({"authorization": body.decode("latin-1")}, [SECRET])
