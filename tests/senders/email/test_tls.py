"""The email sender against aiosmtpd, an SMTP server that is not ours, with TLS and a log-in."""

import ssl
from datetime import timedelta

import pytest
from aiosmtpd.smtp import AuthResult

from onboarding_worker.core.model.endings import Kind
from onboarding_worker.senders.contract import Receipt


@pytest.fixture
def trusting(certificate):
    return ssl.create_default_context(cafile=str(certificate))


def check_password(server, session, envelope, mechanism, data):
    return AuthResult(success=(data.login, data.password) == (b"worker", b"hunter2"), handled=False)


async def test_a_message_goes_out_over_starttls_with_a_log_in(start_smtp, email, message, server_side, trusting):
    mailbox, port = await start_smtp(
        tls_context=server_side, require_starttls=True, auth_required=True, authenticator=check_password
    )

    answer = await email(port=port, tls="starttls", tls_context=trusting, username="worker", password="hunter2").send(
        message()
    )

    assert isinstance(answer, Receipt)
    assert mailbox.received[0][0] == ["maria.lopez@customer.example"]


async def test_a_wrong_password_stops_the_account_and_is_not_shown(start_smtp, email, message, server_side, trusting):
    mailbox, port = await start_smtp(
        tls_context=server_side, require_starttls=True, auth_required=True, authenticator=check_password
    )

    problem = await email(port=port, tls="starttls", tls_context=trusting, username="worker", password="wr0ng").send(
        message()
    )

    assert (problem.kind, problem.status) == (Kind.AUTH, 535)
    assert "wr0ng" not in problem.detail
    assert mailbox.received == []


async def test_a_message_goes_out_over_tls_from_the_first_byte(start_smtp, email, message, server_side, trusting):
    mailbox, port = await start_smtp(wrapped=server_side)

    answer = await email(port=port, tls="tls", tls_context=trusting).send(message())

    assert isinstance(answer, Receipt)
    assert len(mailbox.received) == 1


@pytest.mark.parametrize("tls", ["tls", "starttls"])
async def test_an_untrusted_certificate_ends_the_connection_before_the_log_in(
    start_smtp, email, message, server_side, tls
):
    wrapped = server_side if tls == "tls" else None
    mailbox, port = await start_smtp(wrapped=wrapped, tls_context=None if wrapped else server_side)

    problem = await email(
        port=port, tls=tls, tls_context=ssl.create_default_context(), timeout=timedelta(seconds=20)
    ).send(message())

    assert problem.kind is Kind.TRANSIENT
    assert "certificate not trusted" in problem.detail
    assert mailbox.received == []


async def test_a_real_server_reads_an_international_address(start_smtp, email, message):
    mailbox, port = await start_smtp()

    answer = await email(port=port).send(message(to="josé@bücher.example"))

    assert isinstance(answer, Receipt)
    assert mailbox.received[0][0] == ["josé@xn--bcher-kva.example"]
