"""SMTP servers' answers to a batch, through the whole engine: which rows wait, which fail, which are sent again."""

from datetime import timedelta

import pytest

from onboarding_worker.core.database.tables import InvitationRow
from onboarding_worker.core.model.states import InvitationState, JobState
from tests.senders.conftest import DROP
from tests.senders.works import customer

SECTION = """[email]
url = "smtp://127.0.0.1:{port}"
from = "Example Bank <verify@bank.example>"
connections = 1
{more}
"""
FIVE_MINUTES = timedelta(minutes=5)


@pytest.fixture
def mailing(works, relay):
    """A worker that mails through the relay."""
    return lambda more="": works(SECTION.format(port=relay.port, more=more))


def message_ids(relay) -> list[bytes]:
    """The Message-ID of every message that was written completely, answered or not."""
    lines = b"\r\n".join(relay.written).split(b"\r\n")
    return [line for line in lines if line.startswith(b"Message-ID:")]


async def test_a_greylisted_message_waits_five_minutes_and_its_row_has_the_reason(relay, mailing):
    relay.script["RCPT"].append("450 4.2.0 greylisted, come back later")
    worker = mailing()

    await worker.work(customer("Ona"))

    message = worker.message()
    assert (message.state, message.reason) == (InvitationState.WAITING, "transient")
    assert timedelta(minutes=4, seconds=50) < message.due_at - worker.clock() <= FIVE_MINUTES
    assert message.detail == "SMTP 450 4.2.0 at RCPT TO"
    assert relay.messages == []

    worker.clock.advance(FIVE_MINUTES)
    await worker.work()

    assert (len(relay.messages), worker.job("Ona").state) == (1, JobState.INVITED)
    assert worker.message().attempts == 2


async def test_a_greylisted_recipient_does_not_delay_other_rows(relay, mailing):
    relay.script["RCPT"].append("451 4.7.1 greylisted")
    worker = mailing()

    await worker.work(*(customer(name) for name in ("Ona", "Jonas", "Rasa")))

    assert len(relay.messages) == 2
    assert worker.budget("email").blocked_until is None


async def test_an_address_that_is_refused_has_bounced_and_the_others_go_on(relay, mailing):
    relay.script["RCPT"] += ["250 2.1.5 ok", "550 5.1.1 <jonas@customer.example> no such user"]
    worker = mailing()

    await worker.work(*(customer(name) for name in ("Ona", "Jonas", "Rasa")))

    states = [row.state for row in worker.rows(InvitationRow)]
    (failed,) = worker.rows(InvitationRow, state=InvitationState.BOUNCED)
    assert sorted(states) == sorted([InvitationState.SENT, InvitationState.BOUNCED, InvitationState.SENT])
    assert (failed.reason, failed.attempts) == ("bounced", 1)
    assert "550 5.1.1" in failed.detail
    assert "jonas" not in failed.detail
    assert (len(relay.messages), worker.budget("email").stopped_at) == (2, None)


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
async def test_a_connection_lost_before_the_message_was_written_is_tried_again(relay, mailing, verb):
    relay.script[verb].append(DROP)
    worker = mailing()

    await worker.work(customer("Ona"))

    assert (len(relay.messages), worker.job("Ona").state) == (1, JobState.INVITED)
    assert [row.outcome for row in worker.handovers()] == ["transient", "done"]


async def test_a_connection_lost_after_the_message_is_repeated_under_the_same_message_id(relay, mailing):
    relay.script["END"].append(DROP)
    worker = mailing()

    await worker.work(customer("Ona"))

    first, second = message_ids(relay)
    assert (first == second, worker.job("Ona").state) == (True, JobState.INVITED)
    assert worker.message().attempts == 2


async def test_with_on_unknown_hold_it_is_held_and_not_repeated(relay, mailing):
    relay.script["END"].append(DROP)
    worker = mailing('on_unknown = "hold"')

    await worker.work(customer("Ona"))
    worker.clock.advance(timedelta(hours=1))
    await worker.work()

    assert (len(relay.written), worker.message().state, worker.job("Ona").state) == (
        1,
        InvitationState.HELD,
        JobState.HELD,
    )
    assert "end of message" in worker.job("Ona").detail


def waits_for_the_server(worker, words: str) -> None:
    """All rows wait without a failed attempt, behind one pause with the reason."""
    messages, state = worker.rows(InvitationRow), worker.budget("email")
    assert {(row.state, row.attempts) for row in messages} == {(InvitationState.WAITING, 0)}
    assert state.blocked_until is not None
    assert state.stopped_at is None
    assert words in state.pause_reason
    (tried,) = [row for row in messages if row.waits]
    assert (tried.reason, words in tried.detail) == ("unreachable", True)


async def test_tls_where_the_server_speaks_none_pauses_the_channel_and_its_rows_wait(relay, works):
    section = SECTION.replace("smtp://", "smtps://").format(port=relay.port, more="")
    worker = works(section)

    await worker.work(*(customer(name) for name in ("Ona", "Jonas", "Rasa")))

    waits_for_the_server(worker, "TLS handshake failed at connect")
    assert relay.connections == 1


@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
async def test_an_untrusted_certificate_pauses_the_channel_and_its_rows_wait(start_smtp, works, server_side, scheme):
    wrapped = server_side if scheme == "smtps" else None
    mailbox, port = await start_smtp(wrapped=wrapped, tls_context=None if wrapped else server_side)
    worker = works(SECTION.replace("smtp://", f"{scheme}://").format(port=port, more=""))

    await worker.work(*(customer(name) for name in ("Ona", "Jonas", "Rasa")))

    waits_for_the_server(worker, "certificate not trusted")
    assert mailbox.received == []


async def test_when_the_server_is_back_one_message_goes_first_and_then_the_others(relay, mailing):
    relay.script["CONNECT"].append("421 4.3.2 too busy")
    worker = mailing()
    await worker.work(*(customer(name) for name in ("Ona", "Jonas", "Rasa")))
    waits_for_the_server(worker, "421 4.3.2 at greeting")

    worker.clock.advance(timedelta(minutes=10))
    await worker.work()

    assert (len(relay.messages), worker.budget("email").pauses) == (3, 0)
    assert {row.attempts for row in worker.rows(InvitationRow)} == {1}
