"""A relay with the answers of the test, on the test's own loop and a free port."""

import asyncio
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from onboarding_worker.senders.contract import Message
from onboarding_worker.senders.email import EmailSender
from tests.senders.works import Works

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
DROP, HANG = "DROP", "HANG"
LONG_AGO, FAR_AHEAD = datetime(2020, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)
REPLIES = {
    "CONNECT": "220 relay.test ESMTP",
    "MAIL": "250 2.1.0 ok",
    "RCPT": "250 2.1.5 ok",
    "DATA": "354 go ahead",
    "END": "250 2.0.0 ok: queued as 4F8xY2",
    "RSET": "250 2.0.0 ok",
    "NOOP": "250 2.0.0 ok",
    "QUIT": "221 2.0.0 bye",
    "AUTH": "235 2.7.0 ok",
}


@dataclass
class Relay:
    """`script` holds, for each command, the answers to give before the usual ones; END is the final dot's."""

    port: int = 0
    script: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    extensions: list[str] = field(default_factory=lambda: ["8BITMIME"])
    connections: int = 0
    open: int = 0
    most_open: int = 0
    commands: list[str] = field(default_factory=list)
    written: list[bytes] = field(default_factory=list)  # every message to its final dot, whatever was answered
    messages: list[bytes] = field(default_factory=list)  # the accepted messages
    envelopes: list[tuple[str, str]] = field(default_factory=list)
    reached: asyncio.Event = field(default_factory=asyncio.Event)  # set where a HANG begins
    gone: asyncio.Event = field(default_factory=asyncio.Event)  # set when a connection ended
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    def heard(self, verb: str) -> int:
        # A line may hold no word: what begins a TLS handshake is random.
        return sum(command.split()[:1] == [verb] for command in self.commands)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        self.writers.append(writer)
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            self.gone.set()
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not await self._answer("CONNECT", reader, writer):
            return
        sender = recipient = ""
        while line := (await reader.readline()).decode(errors="replace"):
            self.commands.append(line.strip())
            verb = line.split()[0].upper() if line.strip() else ""
            if verb == "MAIL":
                sender = line.strip()
            if verb == "RCPT":
                recipient = line.strip()
            if verb == "DATA" and not recipient and not self.script[verb]:
                self.script[verb].append("554 5.5.1 no valid recipients")
            if not await self._answer(verb, reader, writer) or verb == "QUIT":
                return
            if verb == "RCPT" and not self.last.startswith("2"):
                recipient = ""
            if verb == "DATA" and self.last.startswith("354"):
                body = await reader.readuntil(b"\r\n.\r\n")
                self.written.append(body)
                if not await self._answer("END", reader, writer):
                    return
                if self.last.startswith("250"):
                    self.messages.append(body[:-3].replace(b"\r\n..", b"\r\n."))
                    self.envelopes.append((sender, recipient))

    async def _answer(self, verb: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        script = self.script[verb]
        self.last = script.pop(0) if script else REPLIES.get(verb, "502 5.5.1 no such command")
        if verb == "EHLO" and self.last.startswith("502"):
            lines = ["relay.test", *self.extensions]
            self.last = "\r\n".join(f"250{'-' if i < len(lines) - 1 else ' '}{x}" for i, x in enumerate(lines))
        if self.last == HANG:
            self.reached.set()
            await reader.read()
            return False
        if self.last == DROP:
            return False
        writer.write(self.last.encode() + b"\r\n")
        await writer.drain()
        return not self.last.startswith("421")


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    relay = Relay()
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    yield relay
    server.close()
    for writer in relay.writers:
        writer.close()
    while relay.open:
        relay.gone.clear()
        await relay.gone.wait()


@pytest.fixture
async def email(relay: Relay) -> AsyncIterator[Callable[..., EmailSender]]:
    """Makes senders to the relay; all are closed at the end."""
    made: list[EmailSender] = []

    def make(**arguments: object) -> EmailSender:
        settings = {
            "host": "127.0.0.1",
            "port": relay.port,
            "from_": "Example Bank <verify@bank.example>",
            "timeout": timedelta(seconds=20),
            "connections": 2,
        }
        made.append(EmailSender(**{**settings, **arguments}))
        return made[-1]

    yield make
    closing: list[Awaitable[None]] = [sender.close() for sender in made]
    await asyncio.gather(*closing)


@pytest.fixture
def message() -> Callable[..., Message]:
    def make(**fields: str) -> Message:
        usual = {
            "key": "0197f3-invitation-email",
            "at": NOW,
            "to": "maria.lopez@customer.example",
            "language": "de",
            "subject": "Example Bank: Bitte bestätigen Sie Ihre Identität",
            "text": "Guten Tag Maria López,\n\nhttps://verify.example.com/s?t=t0k3n\n.\n.end\n",
            "html": '<html lang="de"><body><a href="https://verify.example.com/s?t=t0k3n">Öffnen</a></body></html>',
        }
        return Message(**{**usual, **fields})

    return make


@pytest.fixture
def works(sqlite_url: str, tmp_path: Path) -> Iterator[Callable[..., Works]]:
    """Makes the test's worker from the sections of the senders."""
    with ExitStack() as opened:

        def make(sections: str, **how: object) -> Works:
            made = Works(sqlite_url, tmp_path, sections, **how)
            opened.callback(made.parts.close)
            return made

        yield make


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that only a context with this certificate trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "relay.test")])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(LONG_AGO)
        .not_valid_after(FAR_AHEAD)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "relay.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + built.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def server_side(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


class Mailbox:
    """What an aiosmtpd server has received."""

    def __init__(self) -> None:
        self.received: list[tuple[list[str], bytes]] = []

    async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:
        self.received.append((envelope.rcpt_tos, envelope.content))
        return "250 2.0.0 ok"


@pytest.fixture
async def start_smtp() -> AsyncIterator[Callable[..., Awaitable[tuple[Mailbox, int]]]]:
    """Starts SMTP servers that are not ours (aiosmtpd); each comes with its mailbox and its port."""
    servers = []

    async def start(*, wrapped: ssl.SSLContext | None = None, **arguments: Any) -> tuple[Mailbox, int]:
        mailbox = Mailbox()
        loop = asyncio.get_running_loop()
        arguments.setdefault("enable_SMTPUTF8", True)
        server = await loop.create_server(lambda: SMTP(mailbox, loop=loop, **arguments), "127.0.0.1", 0, ssl=wrapped)
        servers.append(server)
        return mailbox, server.sockets[0].getsockname()[1]

    yield start
    for server in servers:
        server.close()
