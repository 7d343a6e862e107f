"""A mail server that lies, floods or stands in the middle: nothing secret goes out, and the reason is bounded."""

import asyncio
import time
from datetime import timedelta

import pytest
from aiosmtplib import SMTP

from tests.senders.conftest import email, message, pytest_asyncio_loop_factories, relay
from worker.domain.model.endings import Kind
from worker.senders.smtp_session import Session

__all__ = ["email", "message", "pytest_asyncio_loop_factories", "relay"]
SECRETS = ("hunter2", "t0k3n", "maria.lopez", "López")
# Each: the replies by command, how we connect, the kind of the problem; None where the message is accepted.
CASES: dict[str, tuple[dict[str, list[str]], str, Kind | None]] = {
    "STARTTLS left out": ({}, "starttls", Kind.AUTH),
    "STARTTLS refused": (
        {"EHLO": ["250-relay.test\r\n250 STARTTLS"], "STARTTLS": ["454 4.7.0 no"]},
        "starttls",
        Kind.TRANSIENT,
    ),
    "STARTTLS promised, and plain text behind it": (
        {"EHLO": ["250-relay.test\r\n250 STARTTLS"], "STARTTLS": ["220 go\r\n250-AUTH PLAIN\r\n250 ok"]},
        "starttls",
        Kind.TRANSIENT,
    ),
    "plain text where TLS is spoken": ({}, "tls", Kind.TRANSIENT),
    "a greeting of 10 MB": ({"CONNECT": ["220 " + "a" * 10_000_000]}, "plain", Kind.TRANSIENT),
    "a greeting without an end": ({"CONNECT": ["\r\n".join(["220-hello"] * 100_000)]}, "plain", Kind.TRANSIENT),
    "a greeting that is none": ({"CONNECT": ["HTTP/1.1 200 OK"]}, "plain", Kind.TRANSIENT),
    "no greeting, and bytes": ({"CONNECT": ["\x00\x01\x02\x1b[2J"]}, "plain", Kind.TRANSIENT),
    "a refusal of 10 MB": ({"RCPT": ["550 " + "a" * 10_000_000]}, "plain", Kind.TRANSIENT),
    "a refusal of 10,000 lines": ({"RCPT": ["\r\n".join(["550-no"] * 10_000 + ["550 no"])]}, "plain", Kind.BAD_INPUT),
    "a refusal that draws on the screen": (
        {"RCPT": ["550 5.1.1 \x1b[2J\x1b]0;owned\x07\u202e"]},
        "plain",
        Kind.BAD_INPUT,
    ),
    "a refusal that repeats the address": (
        {"RCPT": ["550 5.1.1 <maria.lopez@customer.example> no"]},
        "plain",
        Kind.BAD_INPUT,
    ),
    "two replies at once": ({"MAIL": ["250 ok\r\n550 5.1.1 no"]}, "plain", Kind.TRANSIENT),
    "a code of two digits": ({"RCPT": ["55 no"]}, "plain", Kind.TRANSIENT),
    "a code in Arabic digits": ({"RCPT": ["\u0665\u0665\u0660 no"]}, "plain", Kind.TRANSIENT),
    "codes that differ between lines": ({"RCPT": ["250-ok\r\n550 no"]}, "plain", Kind.BAD_INPUT),
    "accepted by no code": ({"END": ["thanks"]}, "plain", Kind.UNKNOWN),
    "a receipt that draws on the screen": ({"END": ["250 2.0.0 queued as \x1b[2J\u202e"]}, "plain", None),
    "a receipt of 10 MB": ({"END": ["250 " + "a" * 10_000_000]}, "plain", Kind.UNKNOWN),
}


@pytest.mark.parametrize("what", CASES)
async def test_a_hostile_mail_server_gets_no_secret_and_its_words_are_bounded(relay, email, message, what: str):
    replies, tls, kind = CASES[what]
    relay.script.update({verb: list(given) for verb, given in replies.items()})
    how = {} if tls == "plain" else {"tls": tls, "username": "worker", "password": "hunter2"}

    answer = await email(timeout=timedelta(seconds=20), **how).send(message())

    assert getattr(answer, "kind", None) is kind, answer
    shown = getattr(answer, "detail", "") or getattr(answer, "reference", "")
    assert len(shown) < 600
    assert shown.isprintable()
    assert not [secret for secret in SECRETS if secret in repr(answer)]
    if tls != "plain":
        assert [relay.heard(verb) for verb in ("AUTH", "MAIL", "DATA")] == [0, 0, 0]


class Open(asyncio.Transport):
    """A connection that takes everything and sends nothing."""

    def is_closing(self) -> bool:
        return False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None: ...

    def write(self, data: bytes) -> None: ...


def test_a_reply_that_comes_line_by_line_does_not_keep_the_loop():
    """Each line is read once: a worker's calls, and its leases, are on the same loop."""
    client = SMTP(hostname="relay.test", port=25)
    client.transport = Open()
    session = Session(client)
    session.write(b"EHLO worker.test\r\n")

    began = time.process_time()
    for _ in range(5_000):
        session.data_received(b"250-a\r\n")

    assert time.process_time() - began < 5
    assert session.is_usable
    for _ in range(5_000):
        session.data_received(b"250-a\r\n")
    assert not session.is_usable  # it has more than 64 KiB by now
