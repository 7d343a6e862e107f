"""Each client of the product, made from a configuration, against a good server and four that it must not talk to."""

import gc
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
import sqlalchemy as sa
import trustme
from kombu.connection import Connection

from onboarding_worker.cli import online
from onboarding_worker.core.database.outages import reason
from onboarding_worker.core.foundation.connection_failures import in_words
from onboarding_worker.core.foundation.keyring import new_key
from onboarding_worker.core.foundation.tls import Tls
from onboarding_worker.events.brokers.connection import connection_to, redis_client, tls_options
from onboarding_worker.events.bus.sources import sources_of
from onboarding_worker.http import event_loop
from onboarding_worker.runtime.wakeups import WakeUps
from onboarding_worker.settings.load import load
from onboarding_worker.settings.model import Settings
from onboarding_worker.wiring.container import Parts
from tests.conftest import AMQP, NOON, POSTGRESQL, REDIS
from tests.desk.tls_front import (
    Inside,
    Opening,
    Speaking,
    TlsFront,
    as_postgresql,
    as_starttls,
    at_once,
    http,
    passed_on,
    smtp,
)

COMMON = """
[encryption]
keys = [{ env = "KEY" }]
[accounts.kyc]
provider = "idenfy-kyc"
api_key = { env = "KEY" }
api_secret = { env = "KEY" }
"""
ROUTE = '[[routes]]\naccounts = ["kyc"]\n'


def as_database(settings: Settings) -> str:
    parts = Parts(settings)
    try:
        with parts.database.read() as connection:
            connection.execute(sa.text("SELECT 1"))
    except sa.exc.OperationalError as error:
        return reason(error)
    finally:
        parts.close()
    return ""


def connected(connection: Connection) -> str:
    with connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
        except Exception as error:
            return in_words(error)
    return ""


def as_import(settings: Settings) -> str:
    return connected(WakeUps(settings)._app.connection_for_write())


def as_wake_up(settings: Settings) -> str:
    """As each wake-up is sent: Celery takes a connection of a pool, which kombu makes."""
    return connected(WakeUps(settings)._app.pool.acquire(block=True))


def as_bus(settings: Settings) -> str:
    source = sources_of(settings)[0]
    return connected(connection_to(source.url, tls=source.tls))


def as_stream(settings: Settings) -> str:
    source = sources_of(settings)[0]
    with redis_client(source.url, source.tls) as client:
        try:
            client.ping()
        except redis.RedisError as error:
            return in_words(error)
    return ""


def as_account(settings: Settings) -> str:
    return event_loop.run(_asked(settings, "kyc"))


def as_email(settings: Settings) -> str:
    return event_loop.run(_asked(settings, "email"))


def as_sms(settings: Settings) -> str:
    return event_loop.run(_asked(settings, "sms"))


async def _asked(settings: Settings, name: str) -> str:
    """As `check --online` asks; the workers have the same senders, and the same trust in accounts."""
    parts = Parts(settings, clock=lambda: NOON)
    try:
        answers = await online.answers_of(parts, {name} & {"kyc"}, {name} - {"kyc"})
    finally:
        parts.close()
    return online.in_words(answers[name])


@dataclass(frozen=True)
class Client:
    """`url` has a place for the port; `more` are other keys of the section."""

    section: str
    url: str
    connect: Callable[[Settings], str]
    opening: Opening = at_once
    speaking: Speaking | str = http  # or the URL of the server behind it
    more: str = ""


def at(url: str) -> Speaking:
    parts = urlsplit(url)
    return passed_on(parts.hostname or "", parts.port or 0)


DATABASE = f"{POSTGRESQL.partition('@')[0]}@localhost:{{port}}{urlsplit(POSTGRESQL).path}"
OVER_AMQP = f"amqps://{urlsplit(AMQP).username}:{urlsplit(AMQP).password}@localhost:{{port}}{urlsplit(AMQP).path}"
OVER_REDIS = f"rediss://localhost:{{port}}{urlsplit(REDIS).path}"
TEXTS = 'account = "AC0"\ntoken = { env = "KEY" }\nfrom = "+15005550006"'
MAILS = 'from = "verify@example.com"'
CLIENTS = {
    "database": Client("database", DATABASE, as_database, as_postgresql, POSTGRESQL, 'tls = "verify"'),
    "broker on RabbitMQ": Client("broker", OVER_AMQP, as_import, speaking=AMQP),
    "broker on Redis": Client("broker", OVER_REDIS, as_import, speaking=REDIS),
    "wake-ups on RabbitMQ": Client("broker", OVER_AMQP, as_wake_up, speaking=AMQP),
    "wake-ups on Redis": Client("broker", OVER_REDIS, as_wake_up, speaking=REDIS),
    "bus on RabbitMQ": Client("bus", OVER_AMQP, as_bus, speaking=AMQP),
    "bus on Redis": Client("bus", OVER_REDIS, as_stream, speaking=REDIS),
    "mail over TLS": Client("email", "smtps://localhost:{port}", as_email, speaking=smtp(greets=True), more=MAILS),
    "mail after STARTTLS": Client(
        "email", "smtp+starttls://localhost:{port}", as_email, as_starttls, smtp(greets=False), MAILS
    ),
    "texts": Client("sms", "https://localhost:{port}", as_sms, more=TEXTS),
    "account": Client("accounts.kyc", "https://localhost:{port}", as_account),
}
AUTHORITY, OTHER_AUTHORITY = trustme.CA(), trustme.CA()
OWN = AUTHORITY.issue_cert("worker.example")
# The authority and the name of the server's certificate, and what the client says of it.
SERVERS = {
    "good": (AUTHORITY, "localhost", ()),
    "asks for a certificate": (AUTHORITY, "localhost", ()),
    "unknown authority": (
        OTHER_AUTHORITY,
        "localhost",
        ("certificate not trusted (its authority is unknown here", "certificate verify failed"),
    ),
    "expired": (AUTHORITY, "localhost", ("certificate not trusted (expired)", "certificate verify failed")),
    "wrong name": (AUTHORITY, "other.example", ("for another host name", "does not match host name")),
    "no TLS": (
        None,
        "",
        ("TLS handshake failed", "server does not support SSL", "does not offer STARTTLS", "SMTPException"),
    ),
}


# Nobody asks these for a certificate.
PRESENT_NONE = ("sms", "accounts.kyc", "email")
PAIRS = [
    (client, server)
    for client in CLIENTS
    for server in SERVERS
    if server != "asks for a certificate" or CLIENTS[client].section not in PRESENT_NONE
    # A public service is trusted by the machine's authorities alone, and this test's is none of them.
    if server in ("unknown authority", "no TLS") or CLIENTS[client].section != "sms"
]


@pytest.fixture(scope="module", autouse=True)
def services(amqp_url: str, redis_url: str) -> None:
    """They run."""


def front_of(chosen: Client, server: str) -> TlsFront:
    authority, name, _ = SERVERS[server]
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) if authority else None
    if authority and tls:
        ends = datetime(2026, 1, 1, tzinfo=UTC) if server == "expired" else None
        authority.issue_cert(name, not_after=ends).configure_cert(tls)
    if tls and server == "asks for a certificate":
        tls.verify_mode = ssl.CERT_REQUIRED
        AUTHORITY.configure_trust(tls)
    return TlsFront(tls, chosen.opening, at(chosen.speaking) if isinstance(chosen.speaking, str) else chosen.speaking)


def configured(client: Client, port: int, directory: Path, *, presents: bool) -> Settings:
    """A configuration whose only client besides the account is this one. It may present a certificate."""
    AUTHORITY.cert_pem.write_to_path(directory / "ca.pem")
    (directory / "own.pem").touch(mode=0o600)  # libpq refuses a key that others can read
    OWN.private_key_and_cert_chain_pem.write_to_path(directory / "own.pem")
    address = "base_url" if client.section in ("accounts.kyc", "sms") else "url"
    keys = f'{address} = {{ env = "URL" }}\n{client.more}\n'
    keys += "" if client.section == "sms" else 'ca = { file = "ca.pem" }\n'
    keys += 'client_certificate = "own.pem"\n' if presents else ""
    head = "" if client.section == "accounts.kyc" else f"[{client.section}]\n"
    (directory / "onboarding.toml").write_text(f"{COMMON}{head}{keys}{ROUTE}")
    environ = {"KEY": new_key(), "URL": client.url.format(port=port)}
    return load(directory / "onboarding.toml", environ=environ)


@pytest.mark.parametrize(("client", "server"), PAIRS)
def test_a_client_talks_to_the_right_server_only(client: str, server: str, tmp_path: Path) -> None:
    talks_to_the_right_server_only(CLIENTS[client], server, tmp_path)


def talks_to_the_right_server_only(client: Client, server: str, directory: Path) -> None:
    front = front_of(client, server)
    try:
        problem = client.connect(configured(client, front.port, directory, presents=server == "asks for a certificate"))
    finally:
        front.close()

    refused = SERVERS[server][2]
    assert (front.heard > 0) == (not refused)
    assert not refused or any(words in problem for words in refused), problem
    assert refused or not any(words in problem for _, _, every in SERVERS.values() for words in every)


ENDS_ITS_LOOP = [name for name in CLIENTS if CLIENTS[name].connect in (as_account, as_email)]


@pytest.mark.parametrize("name", ENDS_ITS_LOOP)
def test_a_connection_is_closed_before_its_loop_ends_also_by_a_slow_server(name: str, tmp_path: Path) -> None:
    closes_before_its_loop_ends(CLIENTS[name], tmp_path)


def closes_before_its_loop_ends(client: Client, directory: Path) -> None:
    speaking = client.speaking
    assert not isinstance(speaking, str)

    def slow(inside: Inside) -> None:
        speaking(inside)
        time.sleep(0.1)

    client = replace(client, speaking=slow)
    front = front_of(client, "good")
    try:
        client.connect(configured(client, front.port, directory, presents=False))
        assert front.heard > 0
    finally:
        front.close()
    gc.collect()  # what was left open would fail this test, and no other


@pytest.mark.parametrize("url", ["amqps://a.example;amqps://b.example", "rediss://a.example/0"])
def test_a_broker_is_verified_even_where_nothing_was_said_of_tls(url: str) -> None:
    given = tls_options(url, None) or {}

    assert given.get("cert_reqs", given.get("ssl_cert_reqs")) is ssl.CERT_REQUIRED
    assert given.get("server_hostname") == "a.example" or given["ssl_check_hostname"]


def test_a_broker_without_tls_has_no_options_of_it() -> None:
    assert tls_options("amqp://a.example", Tls(Path("ca.pem"))) is None
