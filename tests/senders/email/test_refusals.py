"""What the email sender makes of a relay that refuses, breaks off or hangs. The table of all
replies has its own test (test_refusals_page)."""

from datetime import timedelta

import pytest

from onboarding_worker.core.model.endings import Kind, Problem
from tests.senders.conftest import DROP, HANG

MINUTES = timedelta(minutes=5)
CREDENTIALS = {"username": "worker", "password": "hunter2"}


async def test_a_reply_has_the_kind_of_its_code_and_its_phase(relay, email, message, subtests):
    relay.extensions.append("AUTH PLAIN")
    cases = [
        ("CONNECT", "421 4.3.2 too busy", Kind.TRANSIENT, None),
        ("CONNECT", "554 5.7.1 no service for you", Kind.AUTH, None),
        ("EHLO", "421 4.3.2 closing", Kind.TRANSIENT, None),
        ("EHLO", "550 5.7.1 bad name", Kind.AUTH, None),
        ("AUTH", "454 4.7.0 temporary failure", Kind.TRANSIENT, None),
        ("AUTH", "450 4.7.0 later", Kind.TRANSIENT, None),
        ("AUTH", "530 5.7.0 STARTTLS first", Kind.AUTH, None),
        ("AUTH", "534 5.7.9 too weak", Kind.AUTH, None),
        ("AUTH", "535 5.7.8 bad credentials", Kind.AUTH, None),
        ("AUTH", "538 5.7.11 encryption needed", Kind.AUTH, None),
        ("MAIL", "421 4.7.0 closing", Kind.RATE_LIMITED, None),
        ("MAIL", "451 4.7.1 try later", Kind.TRANSIENT, MINUTES),
        ("MAIL", "452 4.3.1 out of storage", Kind.RATE_LIMITED, None),
        ("MAIL", "530 5.7.0 authentication required", Kind.AUTH, None),
        ("MAIL", "550 5.7.1 sender blocked", Kind.AUTH, None),
        ("MAIL", "553 5.1.8 sender rejected", Kind.AUTH, None),
        ("RCPT", "421 4.7.0 closing", Kind.RATE_LIMITED, None),
        ("RCPT", "450 4.2.0 greylisted", Kind.TRANSIENT, MINUTES),
        ("RCPT", "451 4.7.1 greylisted", Kind.TRANSIENT, MINUTES),
        ("RCPT", "452 4.2.2 mailbox full", Kind.TRANSIENT, None),
        ("RCPT", "455 4.5.4 parameters", Kind.TRANSIENT, None),
        ("RCPT", "530 5.7.0 authentication required", Kind.AUTH, None),
        ("RCPT", "550 5.1.1 no such user", Kind.BAD_INPUT, None),
        ("RCPT", "551 5.1.6 moved", Kind.BAD_INPUT, None),
        ("RCPT", "552 5.2.2 mailbox full", Kind.BAD_INPUT, None),
        ("RCPT", "553 5.1.3 bad syntax", Kind.BAD_INPUT, None),
        ("RCPT", "554 5.7.1 refused", Kind.BAD_INPUT, None),
        ("DATA", "451 4.3.0 try later", Kind.TRANSIENT, MINUTES),
        ("DATA", "554 5.5.1 no valid recipients", Kind.BAD_INPUT, None),
        ("END", "421 4.3.2 closing", Kind.TRANSIENT, None),
        ("END", "451 4.3.0 try later", Kind.TRANSIENT, MINUTES),
        ("END", "452 4.3.1 out of storage", Kind.RATE_LIMITED, None),
        ("END", "552 5.3.4 too big", Kind.BAD_INPUT, None),
        ("END", "554 5.7.1 looks like spam", Kind.BAD_INPUT, None),
        ("END", "hello?", Kind.UNKNOWN, None),
        ("RCPT", "hello?", Kind.TRANSIENT, None),
    ]
    for verb, reply, kind, wait in cases:
        with subtests.test(verb=verb, reply=reply, kind=kind, wait=wait):
            relay.script[verb] = [reply]

            problem = await email(**CREDENTIALS).send(message())

            assert isinstance(problem, Problem)
            assert (problem.kind, problem.retry_after) == (kind, wait)
            assert relay.messages == []
            if reply[0].isdigit():
                assert (problem.status, problem.code) == (int(reply[:3]), reply.split()[1])
                assert reply[:9] in problem.detail


async def test_a_connection_dropped_before_the_message_was_written_is_transient(relay, email, message, subtests):
    relay.extensions.append("AUTH PLAIN")
    for verb in ["CONNECT", "EHLO", "AUTH", "MAIL", "RCPT", "DATA"]:
        with subtests.test(verb=verb):
            relay.script[verb] = [DROP]

            problem = await email(**CREDENTIALS).send(message())

            assert isinstance(problem, Problem)
            assert problem.kind is Kind.TRANSIENT


async def test_a_connection_dropped_after_the_final_dot_is_unknown(relay, email, message):
    relay.script["END"].append(DROP)

    problem = await email().send(message())

    assert isinstance(problem, Problem)
    assert problem.kind is Kind.UNKNOWN


async def test_a_time_out_is_classified_by_the_phase_that_it_came_in(relay, email, message, subtests):
    cases = [
        ("CONNECT", Kind.TRANSIENT),
        ("EHLO", Kind.TRANSIENT),
        ("MAIL", Kind.TRANSIENT),
        ("RCPT", Kind.TRANSIENT),
        ("DATA", Kind.TRANSIENT),
        ("END", Kind.UNKNOWN),
    ]
    for verb, kind in cases:
        with subtests.test(verb=verb):
            relay.script[verb] = [HANG]

            problem = await email(timeout=timedelta(milliseconds=150)).send(message())

            assert isinstance(problem, Problem)
            assert problem.kind is kind
            assert "timed out" in problem.detail


async def test_a_refused_connection_is_transient_and_names_the_server(email, message):
    problem = await email(port=1).send(message())

    assert problem == Problem(Kind.TRANSIENT, "127.0.0.1:1: SMTP connection refused at connect", unreachable=True)


async def test_a_refused_log_in_says_what_to_correct_and_not_the_log_in(relay, email, message):
    relay.extensions.append("AUTH PLAIN")
    relay.script["AUTH"] += ["535 5.7.8 bad password of maria"] * 2
    sender = email(username="maria", password="hemlig", login_from="email.url (the environment variable SMTP_URL)")

    problems = [await sender.preflight(), await sender.send(message())]

    assert {problem.detail for problem in problems} == {
        f"127.0.0.1:{relay.port}: SMTP 535 5.7.8 at AUTH: bad password of […]; correct the user or the password in"
        " email.url (the environment variable SMTP_URL)"
    }


async def test_a_preflight_waits_no_longer_than_the_time_out(relay, email):
    relay.script["CONNECT"].append(HANG)

    problem = await email(timeout=timedelta(milliseconds=100)).preflight()

    assert (problem.unreachable, problem.detail) == (True, f"127.0.0.1:{relay.port}: SMTP timed out at connect")


async def test_a_relay_without_starttls_stops_the_account_before_anything_secret_is_sent(relay, email, message):
    relay.extensions.append("AUTH PLAIN")

    problem = await email(tls="starttls", **CREDENTIALS).send(message())

    assert problem.kind is Kind.AUTH
    assert relay.heard("AUTH") == 0
    assert relay.heard("MAIL") == 0


async def test_a_relay_without_log_in_stops_the_account(email, message):
    problem = await email(**CREDENTIALS).send(message())

    assert problem.kind is Kind.AUTH


@pytest.mark.parametrize("sender", ["", "Example Bank", "Example Bank <verify>", "a@b.example\r\nBcc: c@d.example"])
def test_a_sender_that_is_no_address_stops_the_start(email, sender):
    with pytest.raises(ValueError, match="expected an address like"):
        email(from_=sender)
