"""The sandbox reports what happened to the texts and mails that it accepted."""

import base64
import hashlib
import hmac
from urllib.parse import parse_qsl, urlencode

import aiosmtplib
import pytest

from onboarding_sandbox.options import Share
from tests.sandbox.customers import basic, done, instruct, sent
from tests.suite.some import some

ACCOUNT = "AC00000000000000000000000000000001"


async def text(caller, receiver, to="+37060000001", callback=None):
    headers = basic(f"{ACCOUNT}:sandbox-token") | {"Content-Type": "application/x-www-form-urlencoded"}
    url = f"{receiver.url}/callbacks/sms" if callback is None else callback
    fields = {"To": to, "From": "+15005550006", "Body": "link", "StatusCallback": url}
    path = f"/twilio/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
    return (await caller.ask("POST", path, headers=headers, data=urlencode(fields)))[2]["sid"]


def twilios(webhook, url):
    """The signature, written out from Twilio's page."""
    fields = dict(parse_qsl(webhook.body.decode(), keep_blank_values=True))
    signed = url + "".join(name + fields[name] for name in sorted(fields))
    digest = hmac.new(b"sandbox-token", signed.encode(), hashlib.sha1).digest()
    return fields, base64.b64encode(digest).decode()


async def test_a_text_is_reported_as_sent_and_as_delivered(begin, receiver):
    caller = await begin(texts=(Share("delivered", 1.0),))
    sid = await text(caller, receiver)
    await done(caller)
    statuses = []
    for webhook in some(receiver.received):
        fields, signature = twilios(webhook, f"{receiver.url}/callbacks/sms")
        assert webhook.headers["x-twilio-signature"] == signature
        assert fields["MessageSid"] == sid
        statuses.append(fields["MessageStatus"])
    assert statuses == ["sent", "delivered"]


@pytest.mark.parametrize(
    ("does", "code"),
    [("undelivered", "30003"), ("unreachable", "30005"), ("filtered", "30007"), ("unregistered", "30034")],
)
async def test_a_text_that_does_not_arrive_is_reported_with_the_reason(begin, receiver, does, code):
    caller = await begin(texts=(Share(does, 1.0),))
    await text(caller, receiver)
    await done(caller)
    fields, _ = twilios(receiver.received[-1], "")
    assert (fields["MessageStatus"], fields["ErrorCode"]) == ("undelivered", code)


async def test_a_person_may_answer_stop(begin, receiver):
    caller = await begin()
    sid = await text(caller, receiver)
    assert (await instruct(caller, text=sid, does="stop"))[1] == {"events": ["sent", "delivered", "STOP"]}
    await done(caller)
    fields, signature = twilios(receiver.received[-1], f"{receiver.url}/callbacks/sms")
    assert (fields["Body"], fields["From"], fields["To"]) == ("STOP", "+37060000001", "+15005550006")
    assert receiver.received[-1].headers["x-twilio-signature"] == signature


async def test_callbacks_leave_this_machine_only_to_where_webhooks_go(begin, receiver):
    caller = await begin(texts=(Share("delivered", 1.0),))
    sid = await text(caller, receiver, callback="https://onboard.example.com/callbacks/sms")
    await done(caller)
    assert sent(caller) == []
    assert (await instruct(caller, text=sid, does="delivered"))[0] == 400


async def test_without_options_nothing_is_reported_about_texts(begin, receiver):
    caller = await begin()
    await text(caller, receiver)
    await done(caller)
    assert receiver.received == []


async def mail(caller, to="vita@example.com"):
    message = f"From: a@example.com\r\nTo: {to}\r\nMessage-ID: <k-1@example.com>\r\n\r\nlink\r\n"
    port = caller.sandbox.smtp_port
    await aiosmtplib.send(message, sender="a@example.com", recipients=[to], hostname="127.0.0.1", port=port)


@pytest.mark.parametrize(
    ("does", "kind", "permanent"),
    [
        ("bounced", "bounced", True),
        ("deferred", "bounced", False),
        ("complained", "complained", None),
        ("delivered", "delivered", None),
    ],
)
async def test_the_delivery_of_a_mail_is_reported_in_a_signed_webhook(begin, receiver, does, kind, permanent):
    caller = await begin(mails=(Share(does, 1.0),), mail_webhook=f"{receiver.url}/callbacks/email")
    await mail(caller)
    await done(caller)
    (webhook,) = receiver.received
    said = webhook.fields
    assert (webhook.path, said["type"], said.get("permanent")) == ("/callbacks/email", kind, permanent)
    assert (said["message_id"], said["email"]) == ("<k-1@example.com>", "vita@example.com")
    signed = f"{webhook.headers['webhook-id']}.{webhook.headers['webhook-timestamp']}.".encode() + webhook.body
    digest = base64.b64encode(hmac.new(b"sandbox-mail-key", signed, hashlib.sha256).digest()).decode()
    assert webhook.headers["webhook-signature"] == f"v1,{digest}"


async def test_one_mail_is_instructed_to_bounce(begin, receiver):
    caller = await begin(mail_webhook=f"{receiver.url}/callbacks/email")
    await mail(caller)
    await done(caller)
    assert receiver.received == []
    assert (await instruct(caller, mail="<k-1@example.com>", does="bounced", twice=True))[0] == 202
    await done(caller)
    assert len(receiver.received) == 2


async def test_without_an_address_nothing_is_reported_about_mails(begin):
    caller = await begin(mails=(Share("bounced", 1.0),))
    await mail(caller)
    assert (await instruct(caller, mail="<k-1@example.com>", does="bounced"))[0] == 400
