"""The email sender against a relay that misbehaves on demand; one test for each row of providers.md 8.1."""

import asyncio
from datetime import timedelta

import pytest

from worker.domain.model.endings import Kind, Problem
from worker.senders.contract import TOO_LATE, Receipt

MINUTES = timedelta(minutes=5)
DROP, HANG = "DROP", "HANG"  # the relay ends the connection; the relay sends no more replies
CREDENTIALS = {"username": "worker", "password": "hunter2"}


@pytest.fixture(params=["pipelining", "one by one"])
def relay(request, relay):
    """Every promise holds for a relay that takes commands together, and for one that takes them one by one."""
    if request.param == "pipelining":
        relay.extensions.append("PIPELINING")
    return relay


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
        ("MAIL", "421 4.7.0 closing", Kind.TRANSIENT, None),
        ("MAIL", "451 4.7.1 try later", Kind.TRANSIENT, MINUTES),
        ("MAIL", "452 4.3.1 out of storage", Kind.TRANSIENT, None),
        ("MAIL", "530 5.7.0 authentication required", Kind.AUTH, None),
        ("MAIL", "550 5.7.1 sender blocked", Kind.AUTH, None),
        ("MAIL", "553 5.1.8 sender rejected", Kind.AUTH, None),
        ("RCPT", "421 4.7.0 closing", Kind.TRANSIENT, None),
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
        ("END", "452 4.3.1 out of storage", Kind.TRANSIENT, None),
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


async def test_the_connection_of_a_preflight_carries_the_first_message(relay, email, message):
    sender = email()

    assert await sender.preflight() is None
    assert isinstance(await sender.send(message()), Receipt)
    assert (relay.connections, relay.heard("NOOP"), relay.heard("EHLO")) == (1, 1, 1)


async def test_a_relay_that_has_no_noop_has_accepted_the_log_in(relay, email):
    relay.script["NOOP"].append("502 5.5.1 no such command")

    assert await email().preflight() is None


async def test_a_preflight_waits_no_longer_than_the_time_out(relay, email):
    relay.script["CONNECT"].append(HANG)

    problem = await email(timeout=timedelta(milliseconds=100)).preflight()

    assert (problem.unreachable, problem.detail) == (True, f"127.0.0.1:{relay.port}: SMTP timed out at connect")


async def test_waiting_for_a_connection_counts_against_the_time_out(relay, email, message):
    relay.script["MAIL"].append(HANG)
    sender = email(connections=1)
    first = asyncio.create_task(sender.send(message()))
    await relay.reached.wait()
    sender._timeout = 0.05  # the first message keeps its own time-out, and the connection

    second = await sender.send(message(key="second"))

    assert second.kind is Kind.TRANSIENT
    assert "waiting for a free connection" in second.detail
    first.cancel()


async def test_many_messages_go_over_no_more_connections_than_configured(relay, email, message):
    sender = email(connections=3)

    answers = await asyncio.gather(*(sender.send(message(key=f"key-{number}")) for number in range(60)))

    assert all(isinstance(answer, Receipt) for answer in answers)
    assert len(relay.messages) == 60
    assert relay.connections <= 3
    assert relay.most_open <= 3


async def test_whether_a_message_may_leave_is_asked_when_its_connection_is_there(relay, email, message):
    """A handshake may stall: what was true before it is asked again. A connection that is not used is kept."""
    sender, asked = email(), []

    def answering(answer):
        def may_write(waited):
            asked.append((waited, relay.heard("EHLO"), relay.heard("MAIL")))
            return answer

        return may_write

    assert await sender.send(message(key="first"), answering(False)) == TOO_LATE
    assert isinstance(await sender.send(message(key="second"), answering(True)), Receipt)
    relay.script["MAIL"].append(DROP)
    assert isinstance(await sender.send(message(key="third"), answering(True)), Receipt)

    assert asked == [(True, 1, 0), (False, 1, 0), (False, 1, 1), (True, 2, 2)]  # the dead connection was the third's
    assert (len(relay.messages), relay.connections) == (2, 2)


async def test_a_message_that_had_to_wait_for_a_connection_says_so(relay, email, message):
    sender, asked = email(connections=1), []

    def may_write(waited):
        asked.append(waited)
        return True

    await asyncio.gather(*(sender.send(message(key=f"key-{number}"), may_write) for number in range(2)))

    assert asked == [True, True]


async def test_a_kept_connection_costs_no_extra_round_trip(relay, email, message):
    sender = email()
    for number in range(3):
        await sender.send(message(key=f"key-{number}"))

    assert [command.split()[0] for command in relay.commands] == ["EHLO", *(["MAIL", "RCPT", "DATA"] * 3)]


@pytest.mark.parametrize("farewell", [DROP, "421 4.4.2 idle for too long", "451 4.7.0 too many messages"])
async def test_a_kept_connection_that_the_server_ended_is_replaced_by_a_fresh_one(relay, email, message, farewell):
    sender = email()
    await sender.send(message(key="first"))
    relay.script["MAIL"].append(farewell)

    answer = await sender.send(message(key="second"))

    assert isinstance(answer, Receipt)
    assert (len(relay.messages), relay.connections) == (2, 2)


async def test_a_connection_closed_by_the_server_while_idle_does_not_fail_the_next_message(relay, email, message):
    sender = email()
    await sender.send(message(key="first"))
    relay.writers[0].close()
    await relay.writers[0].wait_closed()
    await relay.gone.wait()

    answer = await sender.send(message(key="second"))

    assert isinstance(answer, Receipt)
    assert relay.connections == 2


async def test_a_fresh_connection_that_fails_too_is_not_tried_a_third_time(relay, email, message):
    sender = email()
    await sender.send(message(key="first"))
    relay.script["MAIL"] += [DROP, DROP, DROP]

    problem = await sender.send(message(key="second"))

    assert problem.kind is Kind.TRANSIENT
    assert relay.connections == 2


async def test_a_message_that_broke_after_mail_from_is_not_sent_again_by_itself(relay, email, message):
    sender = email()
    await sender.send(message(key="first"))
    relay.script["END"].append(DROP)

    problem = await sender.send(message(key="second"))

    assert problem.kind is Kind.UNKNOWN
    assert relay.heard("DATA") == 2


async def test_a_connection_older_than_servers_like_is_not_used_again(relay, email, message, monkeypatch):
    monkeypatch.setattr("worker.senders.email.IDLE_SECONDS", 0.0)
    sender = email()

    await sender.send(message(key="first"))
    await sender.send(message(key="second"))

    assert relay.connections == 2


async def test_after_a_refused_recipient_the_connection_is_reset_and_used_again(relay, email, message):
    relay.script["RCPT"].append("550 5.1.1 no such user")
    sender = email()

    await sender.send(message(key="first"))
    answer = await sender.send(message(key="second"))

    assert isinstance(answer, Receipt)
    assert relay.connections == 1
    assert relay.heard("RSET") == 1


async def test_a_relay_that_waits_for_a_message_without_recipient_gets_none(relay, email, message):
    relay.script["RCPT"].append("550 5.1.1 no such user")
    relay.script["DATA"].append("354 go ahead")
    sender = email()

    problem = await sender.send(message(key="first"))
    answer = await sender.send(message(key="second"))

    assert (problem.kind, problem.code) == (Kind.BAD_INPUT, "5.1.1")
    assert isinstance(answer, Receipt)
    assert len(relay.written) == 1
    assert b"<second@" in relay.messages[0]


async def test_a_reply_that_nothing_asked_for_is_not_read_as_the_next_ones(relay, email, message):
    relay.script["END"].append("250 2.0.0 ok: queued as 4F8xY2\r\n250 2.0.0 once more")
    sender = email()

    await sender.send(message(key="first"))
    relay.script["MAIL"].append("451 4.7.1 try later")
    problem = await sender.send(message(key="second"))

    assert problem.status == 451
    assert relay.connections == 2


async def test_a_connection_that_cannot_be_reset_is_replaced(relay, email, message):
    relay.script["RCPT"].append("550 5.1.1 no such user")
    relay.script["RSET"].append("500 5.5.1 what?")
    sender = email()

    await sender.send(message(key="first"))
    answer = await sender.send(message(key="second"))

    assert isinstance(answer, Receipt)
    assert relay.connections == 2


async def test_a_cancelled_hand_over_closes_its_connection(relay, email, message):
    relay.script["RCPT"].append(HANG)
    sender = email()
    sending = asyncio.create_task(sender.send(message()))
    await relay.reached.wait()

    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await relay.gone.wait()
    answer = await sender.send(message(key="next"))

    assert isinstance(answer, Receipt)
    assert relay.connections == 2
    assert b"<next@" in relay.messages[0]


async def test_closing_says_quit_on_every_kept_connection(relay, email, message):
    sender = email(connections=3)
    await asyncio.gather(*(sender.send(message(key=f"key-{number}")) for number in range(12)))

    await sender.close()

    assert relay.heard("QUIT") == relay.connections


@pytest.mark.parametrize("answer", ["221 2.0.0 bye", "421 4.3.2 going down", "bye", DROP, HANG])
async def test_a_session_is_closed_when_it_has_quit_whatever_the_server_says(relay, email, message, answer):
    relay.script["QUIT"].append(answer)
    sender = email()
    await sender.send(message())
    (kept,) = sender._idle
    connection = kept.session._transport.get_extra_info("socket")

    await kept.session.quit(0.05)

    assert connection.fileno() == -1


async def test_closing_does_not_wait_for_a_server_that_does_not_answer_quit(relay, email, message, monkeypatch):
    monkeypatch.setattr("worker.senders.email.QUIT_SECONDS", 0.05)
    relay.script["QUIT"].append(HANG)
    sender = email()
    await sender.send(message())

    await sender.close()
    await relay.gone.wait()

    assert relay.open == 0


async def test_a_repeat_carries_the_same_message_id(relay, email, message):
    sender = email()
    await sender.send(message())
    await sender.send(message())

    ids = [line for body in relay.messages for line in body.split(b"\r\n") if line.startswith(b"Message-ID")]
    assert ids == [b"Message-ID: <0197f3-invitation-email@bank.example>"] * 2


async def test_a_mail_says_how_to_ask_for_no_more_if_that_is_wanted(relay, email, message):
    returns = {"return_path": lambda key: f"bounces+{key}@bounce.example.com"}
    for how in (returns | {"unsubscribe": True}, returns, {"unsubscribe": True}):
        await email(**how).send(message())
    found = [line for body in relay.messages for line in body.split(b"\r\n") if line.startswith(b"List-Unsubscribe")]
    assert found == [
        b"List-Unsubscribe: <mailto:bounces+0197f3-invitation-email@bounce.example.com?subject=unsubscribe>"
    ]


async def test_the_receipt_names_the_relays_queue_id(email, message):
    assert await email().send(message()) == Receipt("4F8xY2")


async def test_what_a_server_quotes_of_a_customer_is_masked(relay, email, message):
    relay.script["RCPT"].append(
        "550 5.1.1 <maria.lopez@customer.example>: user maria.lopez (Lopez, Maria, +49 170 1234567) "
        "unknown, see https://verify.example.com/s?t=t0k3n or mailto:maria@x.example " + "blah " * 100
    )

    problem = await email().send(message())

    for secret in ("maria", "lopez", "1234567", "t0k3n", "customer.example"):
        assert secret not in problem.words.lower()
    assert "unknown" in problem.words
    assert len(problem.words) < 220
    assert problem.detail == "SMTP 550 5.1.1 at RCPT TO"
    assert "unknown" not in repr(problem)


async def test_what_is_no_bare_address_never_reaches_the_relay(relay, email, message, subtests):
    cases = [
        "",
        "maria",
        "maria@",
        "maria@customer.example>\r\nRCPT TO:<other@customer.example",
        "maria@customer.example\r\nBcc: other@customer.example",
        "Maria <maria@customer.example>",
        "a@customer.example,b@customer.example",
        "maria@customer.example SMTPUTF8",
        '"a b"@customer.example',
    ]
    for address in cases:
        with subtests.test(address=address):
            problem = await email().send(message(to=address))

            assert problem.kind is Kind.BAD_INPUT
            assert relay.connections == 0


async def test_an_international_domain_goes_out_as_punycode(relay, email, message):
    answer = await email().send(message(to="maria@bücher.example"))

    assert isinstance(answer, Receipt)
    assert relay.envelopes[0][1] == "RCPT TO:<maria@xn--bcher-kva.example>"
    assert b"\r\nTo: maria@xn--bcher-kva.example\r\n" in relay.messages[0]


async def test_an_international_local_part_is_sent_if_the_relay_accepts_it(relay, email, message):
    relay.extensions.append("SMTPUTF8")

    answer = await email().send(message(to="josé@bücher.example"))

    assert isinstance(answer, Receipt)
    assert relay.envelopes[0] == (
        "MAIL FROM:<verify@bank.example> SMTPUTF8",
        "RCPT TO:<josé@xn--bcher-kva.example>",
    )


async def test_an_international_local_part_is_refused_where_the_relay_cannot_and_the_next_goes_out(
    relay, email, message
):
    sender = email()

    problem = await sender.send(message(to="josé@customer.example"))
    answer = await sender.send(message())

    assert problem.kind is Kind.BAD_INPUT
    assert isinstance(answer, Receipt)
    assert relay.connections == 1


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
    with pytest.raises(ValueError, match="expected a sender like"):
        email(from_=sender)
