"""The email sender against aiosmtpd, an SMTP server of other people's making, with TLS and a log-in."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from worker.endings import Kind
from worker.senders.contract import Receipt

LONG_AGO, FAR_AHEAD = datetime(2020, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)


class Mailbox:
    def __init__(self):
        self.received = []

    async def handle_DATA(self, server, session, envelope):
        self.received.append((envelope.rcpt_tos, envelope.content))
        return "250 2.0.0 ok"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that only a context told of it trusts."""
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
def server_side(certificate):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusting(certificate):
    return ssl.create_default_context(cafile=str(certificate))


@pytest.fixture
async def start():
    servers = []

    async def start(*, wrapped=None, **arguments):
        mailbox = Mailbox()
        loop = asyncio.get_running_loop()
        arguments.setdefault("enable_SMTPUTF8", True)
        server = await loop.create_server(lambda: SMTP(mailbox, loop=loop, **arguments), "127.0.0.1", 0, ssl=wrapped)
        servers.append(server)
        return mailbox, server.sockets[0].getsockname()[1]

    yield start
    for server in servers:
        server.close()


def check_password(server, session, envelope, mechanism, data):
    return AuthResult(success=(data.login, data.password) == (b"worker", b"hunter2"), handled=False)


async def test_a_message_goes_out_over_starttls_with_a_log_in(start, email, message, server_side, trusting):
    mailbox, port = await start(
        tls_context=server_side, require_starttls=True, auth_required=True, authenticator=check_password
    )

    answer = await email(port=port, tls="starttls", tls_context=trusting, username="worker", password="hunter2").send(
        message()
    )

    assert isinstance(answer, Receipt)
    assert mailbox.received[0][0] == ["maria.lopez@customer.example"]


async def test_a_wrong_password_stops_the_account_and_is_not_shown(start, email, message, server_side, trusting):
    mailbox, port = await start(
        tls_context=server_side, require_starttls=True, auth_required=True, authenticator=check_password
    )

    problem = await email(port=port, tls="starttls", tls_context=trusting, username="worker", password="wr0ng").send(
        message()
    )

    assert (problem.kind, problem.status) == (Kind.AUTH, 535)
    assert "wr0ng" not in problem.detail
    assert mailbox.received == []


async def test_a_message_goes_out_over_tls_from_the_first_byte(start, email, message, server_side, trusting):
    mailbox, port = await start(wrapped=server_side)

    answer = await email(port=port, tls="tls", tls_context=trusting).send(message())

    assert isinstance(answer, Receipt)
    assert len(mailbox.received) == 1


@pytest.mark.parametrize("tls", ["tls", "starttls"])
async def test_a_certificate_that_nobody_vouches_for_ends_before_the_log_in(start, email, message, server_side, tls):
    wrapped = server_side if tls == "tls" else None
    mailbox, port = await start(wrapped=wrapped, tls_context=None if wrapped else server_side)

    problem = await email(
        port=port, tls=tls, tls_context=ssl.create_default_context(), timeout=timedelta(seconds=20)
    ).send(message())

    assert problem.kind is Kind.TRANSIENT
    assert "certificate not trusted" in problem.detail
    assert mailbox.received == []


async def test_a_real_server_reads_an_international_address(start, email, message):
    mailbox, port = await start()

    answer = await email(port=port).send(message(to="josé@bücher.example"))

    assert isinstance(answer, Receipt)
    assert mailbox.received[0][0] == ["josé@xn--bcher-kva.example"]
