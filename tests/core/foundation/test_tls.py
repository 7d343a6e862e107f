"""A connection with TLS is verified, whichever library makes it, and one without goes nowhere but here."""

import socket
import ssl
from pathlib import Path

import pytest
import trustme

from onboarding_worker.core.foundation import tls
from onboarding_worker.core.foundation.tls import Tls, is_loopback, localhost_is_here

CA, OWN = Path("/ca.pem"), Path("/own.pem")


def test_the_server_is_verified_with_its_name_and_the_given_authorities():
    context = Tls().context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert Tls().amqp("broker.test") == {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": "broker.test"}
    assert Tls(CA, OWN).amqp("broker.test").items() >= {"ca_certs": str(CA), "certfile": str(OWN)}.items()
    files = {"sslrootcert": str(CA), "sslcert": str(OWN), "sslkey": str(OWN)}
    assert Tls(CA, OWN).libpq() == {"sslmode": "verify-full"} | files
    assert Tls().libpq().keys() == {"sslmode", "sslrootcert"}
    assert (Tls().is_usual, Tls(ca=CA).is_usual, Tls(certificate=OWN).is_usual) == (True, False, False)


def test_the_given_authority_is_the_only_one_and_the_own_certificate_is_one_of_it(tmp_path):
    authority, ca, own = trustme.CA(), tmp_path / "ca.pem", tmp_path / "own.pem"
    authority.cert_pem.write_to_path(ca)
    authority.issue_cert("worker.test").private_key_and_cert_chain_pem.write_to_path(own)
    context = Tls(ca, own).context()
    assert len(context.get_ca_certs()) == 1
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize("given", [Tls(ca=CA), Tls(certificate=OWN)])
def test_a_file_that_is_named_is_read_and_missed(given):
    with pytest.raises(FileNotFoundError):
        given.context()


@pytest.mark.parametrize(("pythons", "named"), [("/etc/all.pem", "/etc/all.pem"), (None, "system")])
def test_postgresqls_library_gets_pythons_authorities_or_its_own(monkeypatch, pythons, named):
    found = ssl.get_default_verify_paths()._replace(cafile=pythons)
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: found)
    assert Tls().libpq()["sslrootcert"] == named


@pytest.mark.parametrize(
    ("host", "here"), [("127.0.0.9", True), ("::1", True), ("10.0.0.1", False), ("db.test", False), ("", False)]
)
def test_only_an_address_of_this_machine_is_loopback(host, here):
    assert is_loopback(host) is here


@pytest.fixture
def led_to(monkeypatch):
    """Where the name localhost leads."""

    def lead(*addresses):
        def found(*_args, **_kind):
            if not addresses:
                raise socket.gaierror
            return [(None, None, None, "", (address, 0)) for address in addresses]

        localhost_is_here.cache_clear()
        monkeypatch.setattr(tls.socket, "getaddrinfo", found)

    yield lead
    localhost_is_here.cache_clear()


@pytest.mark.parametrize(
    ("addresses", "here"), [(["127.0.0.1", "::1%lo"], True), (["127.0.0.1", "10.0.0.1"], False), ([], False)]
)
def test_localhost_is_trusted_only_where_it_leads_nowhere_else(led_to, addresses, here):
    led_to(*addresses)
    assert is_loopback("localhost") is here
