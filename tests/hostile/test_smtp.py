"""A mail server that lies, floods or stands in the middle: nothing secret goes out, and the reason is bounded."""

import asyncio
from datetime import timedelta

import pytest

from onboarding_worker.core.model.endings import Kind
from onboarding_worker.senders.email import Client, Connection
from tests.senders.conftest import REPLIES, email, message, relay

__all__ = ["email", "message", "relay"]
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
    "a refusal of 10,000 lines": ({"RCPT": ["\r\n".join(["550-no"] * 10_000 + ["550 no"])]}, "plain", Kind.TRANSIENT),
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
    "replies to all that will be asked": (
        {"EHLO": ["250 relay.test\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok"], "END": ["550 5.7.1 no"]},
        "plain",
        Kind.UNKNOWN,
    ),
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


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
async def test_a_refused_message_is_not_accepted_by_a_reply_that_came_before_it(relay, email, message, verb: str):
    relay.script[verb].append(f"{REPLIES[verb]}\r\n250 2.0.0 ok")
    relay.script["END"].append("550 5.7.1 no")

    answer = await email().send(message())

    assert getattr(answer, "kind", None) is Kind.TRANSIENT
    assert relay.written == []


class Open(asyncio.Transport):
    """A connection that takes everything and sends nothing."""

    def __init__(self, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self.cut_off, self._protocol = False, protocol

    def is_closing(self) -> bool:
        return self.cut_off

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None: ...

    def abort(self) -> None:
        self.cut_off = True


class Heard(asyncio.Protocol):
    """What reaches aiosmtplib."""

    def __init__(self) -> None:
        self.got: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self.got.append(data)


@pytest.fixture
def opened() -> tuple[Connection, Open, Heard]:
    heard = Heard()
    client, transport = Client(hostname="relay.test", port=25), Open(heard)
    client.transport = transport
    return Connection(client), transport, heard


def test_a_reply_that_comes_line_by_line_reaches_the_client_once(opened):
    """aiosmtplib reads all that it has again for each packet, and a worker's calls are on the same loop."""
    connection, transport, heard = opened
    for _ in range(5_000):
        connection.data_received(b"250-a\r\n")
    connection.data_received(b"250 a\r")
    assert heard.got == []
    connection.data_received(b"\n")
    assert [len(reply) for reply in heard.got] == [5_001 * 7]

    for _ in range(10_000):
        connection.data_received(b"250-a\r\n")
    assert transport.cut_off  # it has more than 64 KiB by now


@pytest.mark.parametrize(
    "packets",
    [[b"354 go\r\n250 ok\r\n"], [b"354 go\r\n2"], [b"35", b"4 go\r\n250-a\r\n"], [b"250-a\r\n", b"250 b\r\n250 c\r\n"]],
)
def test_what_comes_with_a_reply_cuts_the_connection_off(opened, packets: list[bytes]):
    connection, transport, heard = opened
    for packet in packets:
        connection.data_received(packet)
    assert (transport.cut_off, heard.got) == (True, [])


def test_what_comes_on_an_idle_connection_cuts_it_off(opened):
    connection, transport, heard = opened
    connection.idle_since = 1.0
    connection.data_received(b"421 going down\r\n")
    assert (transport.cut_off, heard.got) == (True, [])
