"""The one TLS policy: a far host is spoken to over TLS, verified, or its section says that it is off."""

import socket
from pathlib import Path
from typing import Any

import pytest
import trustme

from onboarding_worker.core.foundation.tls import Tls, localhost_is_here
from onboarding_worker.settings.load import load
from onboarding_worker.settings.needs import NOTHING
from onboarding_worker.settings.problems import SettingsError
from tests.settings.samples import ENVIRON, loaded, problems, tree, with_value, write
from tests.suite.of_features import of_features

DATABASE, BROKER, BUS, EMAIL, SMS = ("database",), ("broker",), ("bus",), ("email",), ("sms",)
ACCOUNT = ("accounts", "kyc")
PG = "postgresql+psycopg://"
# Where the URL is, a URL of another machine without TLS, and the same with TLS.
CLIENTS = {
    "database": ((*DATABASE, "url"), f"{PG}db.internal/x?sslmode=prefer", f"{PG}db.internal/x"),
    "broker": ((*BROKER, "url"), "redis://rabbit.internal", "rediss://rabbit.internal"),
    "bus": ((*BUS, "url"), "amqps://a.internal;amqp://b.internal", "amqps://a.internal;amqps://b.internal"),
    "email": ((*EMAIL, "url"), "smtp://mail.internal", "smtp+starttls://mail.internal"),
}


# Public services, and another machine's URL without TLS.
PUBLIC = {
    "sms": ((*SMS, "base_url"), "http://twilio.internal"),
    "account": ((*ACCOUNT, "base_url"), "http://proxy.internal"),
    **dict(of_features("PUBLIC")),
}


def section(settings: Any, path: tuple[str, ...]) -> Any:
    return getattr(settings, path[0]) if len(path) == 1 else getattr(settings, path[0])[path[1]]


def test_another_machine_is_verified_or_switched_off_by_name(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for what, (key, plain, encrypted) in CLIENTS.items():
        with subtests.test(case=what):
            *path, _ = key
            off = (*path, "tls")

            (line,) = problems(tmp_path, with_value(key, plain))
            assert line.startswith(f"{'.'.join(key)}: ")
            assert f'or write tls = "off" in [{".".join(path)}]' in line

            verified = loaded(tmp_path, with_value(key, encrypted))
            assert (section(verified, tuple(path)).protection, verified.warnings) == (Tls(), ())

            switched_off = loaded(tmp_path, with_value(off, "off", with_value(key, plain)))
            (warning,) = switched_off.warnings
            assert warning.startswith(f'TLS is off for {".".join(path)} (tls = "off"): ')


def test_a_public_service_on_another_machine_has_tls(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for what, (key, plain) in PUBLIC.items():
        with subtests.test(case=what):
            (line,) = problems(tmp_path, with_value(key, plain))

            assert "is accepted for this machine (127.0.0.1, ::1, localhost) only" in line
            assert 'tls = "off"' not in line


def test_localhost_is_this_machine_where_its_name_leads_nowhere_else(tmp_path: Path, monkeypatch) -> None:
    plain = with_value(("sms", "base_url"), "http://localhost:8080")
    for addresses, is_here in ((["127.0.0.1", "::1%lo"], True), (["127.0.0.1", "192.0.2.7"], False)):
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 0)) for one in addresses]
        with monkeypatch.context() as patched:
            patched.setattr(socket, "getaddrinfo", lambda *_, found=found, **__: found)
            localhost_is_here.cache_clear()
            if is_here:
                assert loaded(tmp_path, plain).warnings == ()
            else:
                assert problems(tmp_path, plain)[0].startswith("sms.base_url: expected https: ")
    localhost_is_here.cache_clear()


def test_a_database_on_this_machine_needs_no_tls(tmp_path: Path, subtests: pytest.Subtests) -> None:
    cases = [
        (f"{PG}/x", None, False),
        (f"{PG}u@127.0.0.1/x", None, False),
        (f"{PG}[::1]/x?sslmode=require", None, False),
        (f"{PG}/x?host=/var/run/postgresql", None, False),
        (f"{PG}127.0.0.1/x", "verify", True),
        (f"{PG}127.0.0.1/x?sslmode=verify-full", None, True),
        (f"{PG}/x?host=127.0.0.1:5432,db.internal", None, True),
        (f"{PG}/x?service=far", None, True),
        (f"{PG}127.0.0.2/x?hostaddr=10.0.0.1", None, True),
        (f"{PG}db.internal/x?sslmode=require", "off", False),
    ]
    for url, tls, verified in cases:
        with subtests.test(url=url):
            database = {"url": url} | ({"tls": tls} if tls else {})

            assert (loaded(tmp_path, tree(database=database)).database.protection is not None) == verified


def test_what_contradicts_itself_is_refused(tmp_path: Path, subtests: pytest.Subtests) -> None:
    cases = [
        (BROKER, {"url": "amqps://h", "tls": "off"}, "broker.tls: "),
        (DATABASE, {"url": f"{PG}h/x?sslmode=verify-full", "tls": "off"}, "database.tls: "),
        (DATABASE, {"url": f"{PG}127.0.0.1/x?sslmode=require", "tls": "verify"}, "database.url: "),
        (DATABASE, {"url": f"{PG}h/x?sslrootcert=x", "ca": "ca.pem"}, "database.ca: the URL names another file"),
        (BROKER, {"url": "amqp://127.0.0.1", "tls": "verify"}, "broker.url: expected amqps"),
        (BROKER, {"url": "amqp://h", "ca": "ca.pem"}, "broker.url: expected amqps"),
        (BROKER, {"url": "rediss://h?ssl_cert_reqs=none"}, "broker.url: expected no `ssl…` in the URL"),
        (BROKER, {"url": "amqp://127.0.0.1", "ca": "ca.pem"}, "broker.ca: used with TLS only"),
        (BROKER, {"url": "amqps://h", "ca": "nothing.pem"}, "broker.ca: no such file"),
        (BROKER, {"url": "amqps://h", "ca": "A" * 5000}, "broker.ca: expected the path of a file"),  # the PEM itself
        (BROKER, {"url": "amqps://h", "ca": {"file": "nothing.pem"}}, "broker.ca: no file"),
        (BROKER, {"url": "amqps://h", "ca": "onboarding.toml"}, "broker.ca: expected a file with certificates in PEM"),
        (BROKER, {"url": "amqps://h", "client_certificate": "ca.pem"}, "broker.client_certificate: expected a cert"),
    ]
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")

    for path, given, expected in cases:
        with subtests.test(path=path, given=given, expected=expected):
            (line,) = problems(tmp_path, with_value(path, given))

            assert line.startswith(expected)


def test_an_authority_and_a_certificate_are_files_beside_the_configuration(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("worker.example").private_key_and_cert_chain_pem.write_to_path(tmp_path / "worker.pem")
    broker = {"url": "amqps://h", "ca": {"file": "ca.pem"}, "client_certificate": "worker.pem"}

    found = loaded(tmp_path, tree(broker=broker)).broker.protection

    assert found == Tls(tmp_path / "ca.pem", tmp_path / "worker.pem")


def test_accounts_of_one_host_trust_the_same(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    configuration = tree()
    configuration["accounts"]["kyb"] = {**configuration["accounts"]["kyc"], "provider": "idenfy-kyb", "ca": "ca.pem"}

    (line,) = problems(tmp_path, configuration)

    assert line.startswith("accounts.kyb.ca: accounts.kyc has the same host")


def test_a_file_that_a_command_does_not_need_may_be_missing(tmp_path: Path) -> None:
    configuration = tree(broker={"url": "amqps://h", "ca": {"file": "nothing.pem"}})

    broker = load(write(tmp_path, configuration), environ=ENVIRON, needs=NOTHING).broker

    with pytest.raises(SettingsError, match="no file"):
        _ = broker.protection
