"""Forged messages of Amazon SNS and webhooks of Postmark: each is refused, and makes us ask no other machine."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from onboarding_worker.core.foundation.keyring import Keyring, new_key
from onboarding_worker.features.delivery import postmark
from onboarding_worker.features.delivery.ses import TOPIC_HEADER
from onboarding_worker.features.delivery.sources import SesSource, of_mails
from onboarding_worker.providers.webhooks.contract import Delivery
from tests.features.delivery.sns import (
    CERTIFICATE_URL,
    HOST,
    NOON,
    PEM,
    TOPIC,
    certificate,
    confirmation,
    notification,
    signed,
)
from tests.suite.rsa_keys import ANOTHER, SHORT

MESSAGE_ID = "<0a@example.com>"
LATE = "2026-11-18T12:00:00.000Z"


def delivered(**how: Any) -> bytes:
    return notification("Delivery", {}, MESSAGE_ID, **how)


def at(url: object) -> bytes:
    return delivered(SigningCertURL=url)


NAME = CERTIFICATE_URL.removeprefix(HOST)
OTHERS, MORE = TOPIC.replace("1234", "9999"), f"x\nMessageId\n1\nTopicArn\n{TOPIC}"
# Each: the message, the reason, and how many certificates it may make us fetch.
SNS: dict[str, tuple[bytes, str, int]] = {
    "genuine": (delivered(), "", 1),
    "genuine, with SHA-1": (delivered(version="1"), "", 1),
    "with a subject": (signed({"Message": "{}", "Subject": "a\nb"}), "", 1),
    "a version of its own": (delivered(SignatureVersion="3"), "not signed", 0),
    "SHA-1's signature as SHA-256's": (delivered(version="1", SignatureVersion="2"), "signature is wrong", 1),
    "no signature": (delivered(Signature=None), "not signed", 0),
    "an empty signature": (delivered(Signature=""), "not signed", 0),
    "a signature that is no base64": (delivered(Signature="\ud800"), "not signed", 0),
    "another signature": (delivered(Signature=base64.b64encode(b"x" * 256).decode()), "signature is wrong", 1),
    "signed by another key": (delivered(key=ANOTHER), "signature is wrong", 1),
    "another message": (delivered(Message="{}"), "signature is wrong", 1),
    "another id": (delivered(MessageId="7"), "signature is wrong", 1),
    "another time": (delivered(Timestamp=NOON.isoformat() + " "), "signature is wrong", 1),
    "a subject that was not signed": (delivered(Subject="x"), "signature is wrong", 1),
    "another type": (delivered(Type="SubscriptionConfirmation"), "missing", 0),
    "a type of no message": (delivered(Type="x"), "type", 0),
    "a type that is a list": (delivered(Type=[]), "type", 0),
    "another topic": (delivered(TopicArn=TOPIC + "x"), "topic", 0),
    "a topic that is a list": (delivered(TopicArn=[TOPIC]), "topic", 0),
    "a topic of an attacker, signed": (signed({"Message": "{}", "TopicArn": OTHERS}), "topic", 0),
    "a message that says more of itself": (signed({"Message": MORE, "TopicArn": TOPIC + "x"}), "topic", 0),
    "no id": (delivered(MessageId=None), "missing", 0),
    "a message that is an object": (delivered(Message={}), "missing", 0),
    "two days old": (signed({"Message": "{}", "Timestamp": LATE}), "too old", 1),
    "of no time": (signed({"Message": "{}", "Timestamp": "x"}), "too old", 1),
    "no JSON": (b"{", "JSON", 0),
    "a list": (b"[]", "JSON", 0),
    "a key twice": (delivered().replace(b'{"Type"', b'{"Type": "x", "Type"', 1), "JSON", 0),
    "100 KB": (signed({"Message": "x" * 100_000}), "JSON", 0),
    "100,000 deep": (b'{"Message": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", "JSON", 0),
    "a certificate of nowhere": (at(None), "certificate", 0),
    "a certificate at another host": (at(f"https://evil.example{NAME}"), "certificate", 0),
    "at a host that begins like AWS": (at(f"{HOST}.evil.example{NAME}"), "certificate", 0),
    "at a host that ends like AWS": (at(f"https://evil-sns.eu-west-1.amazonaws.com{NAME}"), "certificate", 0),
    "at another service of AWS": (at(f"https://s3.eu-west-1.amazonaws.com{NAME}"), "certificate", 0),
    "in a bucket": (at(f"https://sns.s3.amazonaws.com{NAME}"), "certificate", 0),
    "in another region": (at(CERTIFICATE_URL.replace("eu-west-1", "us-east-1")), "certificate", 0),
    "without TLS": (at(CERTIFICATE_URL.replace("https", "http")), "certificate", 0),
    "in capitals": (at(CERTIFICATE_URL.upper()), "certificate", 0),
    "at a port": (at(CERTIFICATE_URL.replace(".com/", ".com:8443/")), "certificate", 0),
    "with a user": (at(CERTIFICATE_URL.replace("https://", "https://evil.example@")), "certificate", 0),
    "with a user that looks like AWS": (at(f"{HOST}@evil.example{NAME}"), "certificate", 0),
    "at another path": (at(f"{HOST}/evil.pem"), "certificate", 0),
    "a path that goes up": (at(f"{HOST}/SimpleNotificationService-../../x.pem"), "certificate", 0),
    "with a query": (at(CERTIFICATE_URL + "?x.pem"), "certificate", 0),
    "with a line break": (at(CERTIFICATE_URL + "\n"), "certificate", 0),
    "a file of this machine": (at("file:///etc/ssl/cert.pem"), "certificate", 0),
    "a confirmation with a token that is more": (confirmation(Token="a" * 20 + "&TopicArn=x"), "token", 0),
    "a confirmation by another key": (confirmation(key=ANOTHER), "signature is wrong", 1),
}


class Amazon:
    """Answers as SNS would, and keeps what it was asked for."""

    def __init__(self, answer: bytes | None = PEM) -> None:
        self.answer, self.asked = answer, list[str]()

    async def __call__(self, url: str) -> bytes | None:
        self.asked.append(url)
        return self.answer


def source_of(amazon: Amazon) -> SesSource:
    return SesSource([TOPIC], Keyring([new_key()]), lambda: NOON, amazon)


def posted(body: bytes) -> Delivery:
    return Delivery(body, {TOPIC_HEADER: TOPIC})


async def why(source: SesSource, body: bytes) -> str:
    delivery = posted(body)
    asked = await source.ask(delivery) if source.must_ask(delivery) else ""
    return source.refuses_unread(delivery) or asked or source.refuses(delivery, "")


async def test_a_message_of_sns_is_refused_by_its_fault_and_asks_no_stranger(subtests):
    for what in SNS:
        with subtests.test(case=what):
            body, reason, fetched = SNS[what]
            amazon = Amazon()
            found = await why(source_of(amazon), body)
            assert (reason in found) if reason else (found == "")
            assert amazon.asked == [CERTIFICATE_URL] * fetched


async def test_without_a_certificate_that_can_be_used_no_message_is_believed(subtests: pytest.Subtests):
    for what, pem in [
        ("no answer", None),
        ("nothing", b""),
        ("a page", b"<html>"),
        ("spoilt", PEM.replace(b"A", b"B")),
        ("of another kind", certificate(ec.generate_private_key(ec.SECP256R1()))),
        ("with a short key", certificate(SHORT)),
        ("run out", certificate(until=NOON.replace(day=19))),
    ]:
        with subtests.test(what=what):
            assert await why(source_of(Amazon(pem)), delivered())


async def test_a_message_without_a_topic_of_ours_in_its_header_is_refused_unread():
    assert source_of(Amazon()).refuses_unread(Delivery(delivered(), {TOPIC_HEADER: TOPIC + "x"}))
    assert source_of(Amazon()).refuses_unread(Delivery(delivered()))


async def test_certificates_are_asked_for_once():
    amazon = Amazon()
    source = source_of(amazon)
    assert source.must_ask(posted(delivered()))
    assert await why(source, delivered()) == ""
    assert not source.must_ask(posted(delivered()))
    assert source.must_ask(posted(confirmation()))
    assert amazon.asked == [CERTIFICATE_URL]


async def test_a_subscription_is_confirmed_at_an_address_that_we_make_ourselves():
    amazon = Amazon()
    source = source_of(amazon)
    assert await why(source, confirmation()) == ""
    token, quoted = "2336412f37" * 8, TOPIC.replace(":", "%3A")
    confirms = f"{HOST}/?Action=ConfirmSubscription&TopicArn={quoted}&Token={token}"
    assert amazon.asked == [CERTIFICATE_URL, confirms]
    assert source.read(posted(confirmation())).event == "subscribed"


async def test_a_confirmation_that_amazon_does_not_answer_is_to_be_sent_again():
    class Half(Amazon):
        async def __call__(self, url: str) -> bytes | None:
            await super().__call__(url)
            return PEM if url == CERTIFICATE_URL else None

    assert "cannot be confirmed" in await source_of(Half()).ask(posted(confirmation()))


SECRET = "password-of-the-webhook-32-characters"


def basic(text: bytes) -> str:
    return "Basic " + base64.b64encode(text).decode()


POSTMARK: dict[str, str | None] = {
    "nothing": None,
    "empty": "",
    "the key alone": SECRET,
    "the key as the user": basic(f"{SECRET}:".encode()),
    "no colon": basic(SECRET.encode()),
    "a part of it": basic(f"u:{SECRET[:-1]}".encode()),
    "more": basic(f"u:{SECRET}x".encode()),
    "in capitals": basic(f"u:{SECRET.upper()}".encode()),
    "no base64": f"Basic u:{SECRET}",
    "no text": basic(b"u:\xff\xfe"),
    "an empty password": basic(b"u:"),
    "a token that is empty": "Bearer ",
    "another scheme": f"Digest {SECRET}",
    "two keys": f"Bearer {SECRET} {SECRET}",
}


def test_a_webhook_that_does_not_show_postmarks_key_is_refused_before_its_body_is_read(subtests):
    for what in POSTMARK:
        with subtests.test(case=what):
            source, given = of_mails(postmark, [SECRET], Keyring([new_key()]), lambda: NOON), POSTMARK[what]
            assert source.refuses_unread(Delivery(b"", {} if given is None else {"authorization": given}))
            assert not source.refuses_unread(Delivery(b"", {"authorization": f"Bearer {SECRET}"}))
