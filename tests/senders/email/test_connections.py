"""The connections of the email sender: kept, asked for, replaced and closed."""

import asyncio

import pytest

from onboarding_worker.core.model.endings import Kind
from onboarding_worker.senders.contract import TOO_LATE, Receipt
from tests.senders.conftest import DROP, HANG
from tests.suite.some import some


async def test_the_connection_of_a_preflight_carries_the_first_message(relay, email, message):
    sender = email()

    assert await sender.preflight() is None
    assert isinstance(await sender.send(message()), Receipt)
    assert (relay.connections, relay.heard("NOOP"), relay.heard("EHLO")) == (1, 1, 1)


async def test_a_relay_that_has_no_noop_has_accepted_the_log_in(relay, email):
    relay.script["NOOP"].append("502 5.5.1 no such command")

    assert await email().preflight() is None


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

    assert all(isinstance(answer, Receipt) for answer in some(answers))
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
    monkeypatch.setattr("onboarding_worker.senders.email.IDLE_SECONDS", 0.0)
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
    connection = kept.client.get_transport_info("socket")

    await kept.quit(0.05)

    assert connection.fileno() == -1


async def test_closing_does_not_wait_for_a_server_that_does_not_answer_quit(relay, email, message, monkeypatch):
    monkeypatch.setattr("onboarding_worker.senders.email.QUIT_SECONDS", 0.05)
    relay.script["QUIT"].append(HANG)
    sender = email()
    await sender.send(message())

    await sender.close()
    await relay.gone.wait()

    assert relay.open == 0
