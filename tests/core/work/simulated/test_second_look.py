"""Answers of mail servers whose code does not say whom they are about, and requests to wait: as real ones gave them."""

from datetime import timedelta

import pytest

from onboarding_testing.fakes import FakeSender
from onboarding_worker.core.database.tables import InvitationRow, Job
from onboarding_worker.core.model.states import InvitationState, JobState
from onboarding_worker.providers.contract import HttpAnswer
from onboarding_worker.senders.contract import Receipt
from onboarding_worker.senders.smtp_answers import Phase, refused
from tests.simulated.world import customer

MINUTE = timedelta(minutes=1)

UNVERIFIED = (554, "Message rejected: Email address is not verified. The following identities failed the check")
SPAM = (550, "5.7.1 Our system has detected that this message is likely unsolicited mail.")
GMAIL = (550, "5.4.5 Daily user sending limit exceeded. For more information go to https://g.example x3 - gsmtp")
MICROSOFT = (550, "5.1.90 Your message can't be sent because you've reached your daily limit")
SES = (454, "Throttling failure: Daily message quota exceeded.")
SENDGRID = (451, "Maximum credits exceeded")
TEXTS = '[sms]\naccount = "AC1"\ntoken = { env = "SECRET" }\nfrom = "+15005550006"'


class Relay(FakeSender):
    """Accepts the first `accepted` messages, and answers the others with `reply`; never those to `odd`."""

    def __init__(self, reply, *, accepted=0, phase=Phase.END, odd=()):
        super().__init__()
        self.reply, self.accepted, self.phase, self.odd = reply, accepted, phase, odd
        self.refusals = 0

    async def send(self, message, may_write=None):
        if (self.odd and message.to not in self.odd) or (not self.odd and len(self.messages) < self.accepted):
            self.messages.append(message)
            return Receipt()
        self.refusals += 1
        return refused(self.phase, *self.reply, personal=(message.to,))


async def living(world, minutes):
    """Work for so long."""
    until = world.clock() + minutes * MINUTE
    await world.live(lambda: world.clock() >= until)


def counted(world):
    rows = world.rows(InvitationRow, channel="email")
    return {state.value: sum(row.state is state for row in rows) for state in {row.state for row in rows}}


@pytest.fixture
def started(make):
    """A world of 60 customers with a session each, whose mails this relay gets."""

    async def start(relay, *names, rows=60):
        senders = {"email": relay, "sms": FakeSender()}
        world = make(senders=senders, sender=TEXTS, templates='fallback = "sms"')
        world.add(*(customer(name) for name in names or [f"C{number:03}" for number in range(rows)]))
        await world.issue()
        return world

    return start


@pytest.mark.parametrize("reply", [SPAM, UNVERIFIED])
async def test_a_sender_that_is_refused_from_now_on_stops_and_no_row_fails_or_is_texted(started, reply):
    relay = Relay(reply, accepted=20)
    world = await started(relay)

    await living(world, 2)

    state = world.budget("sender/email")
    assert state.stopped_at is not None
    assert reply[1].partition(" ")[2][:30] in state.stop_reason
    assert counted(world) == {"sent": 20, "waiting": 40}
    assert {row.attempts for row in world.rows(InvitationRow, state=InvitationState.WAITING)} == {0}
    assert world.senders["sms"].messages == []
    assert relay.refusals < 60


@pytest.mark.parametrize("reply", [GMAIL, MICROSOFT, SES, SENDGRID])
async def test_a_quota_that_is_used_up_pauses_the_sender_and_costs_no_row_an_attempt(started, reply):
    relay = Relay(reply, accepted=20)
    world = await started(relay)

    await living(world, 1)

    state = world.budget("sender/email")
    assert (state.stopped_at, state.blocked_until is not None) == (None, True)
    assert reply[1].partition(" ")[2][:15] in state.pause_reason
    assert counted(world) == {"sent": 20, "waiting": 40}
    assert {row.attempts for row in world.rows(InvitationRow, state=InvitationState.WAITING)} == {0}

    relay.accepted = 60  # the quota is new
    await world.live(lambda: len(relay.messages) == 60)


async def test_a_sender_that_was_never_verified_stops_before_a_row_fails(started):
    world = await started(Relay(UNVERIFIED))

    await living(world, 2)

    assert "Email address is not verified" in world.budget("sender/email").stop_reason
    assert counted(world) == {"waiting": 60}


async def test_once_the_cause_is_gone_a_stopped_sender_goes_on_by_itself(started):
    relay = Relay(UNVERIFIED)
    world = await started(relay)
    await living(world, 2)

    relay.accepted = 60
    took = await world.live(lambda: len(relay.messages) == 60)

    assert took < 6 * MINUTE
    assert world.budget("sender/email").stopped_at is None


async def test_one_row_that_is_refused_while_the_others_are_accepted_is_refused_for_itself(started):
    world = await started(Relay(SPAM, odd={"c007@example.org"}))

    await living(world, 2)

    assert world.budget("sender/email").stopped_at is None
    assert counted(world) == {"sent": 59, "failed": 1}
    assert world.job("C007").reason == "message_refused"


async def test_a_recipient_that_is_refused_while_the_others_are_accepted_is_texted(started):
    world = await started(Relay((550, "5.7.1 not here"), phase=Phase.RCPT, odd={"c007@example.org"}))

    await living(world, 2)
    await world.work()

    assert world.budget("sender/email").stopped_at is None
    assert len(world.senders["sms"].messages) == 1


async def test_one_row_alone_neither_waits_for_ever_nor_stops_the_sender(started):
    relay = Relay(UNVERIFIED)
    world = await started(relay, "Ona")

    await living(world, 2)

    assert (world.job("Ona").state, world.job("Ona").reason) == (JobState.FAILED, "message_refused")
    assert world.budget("sender/email").stopped_at is None
    assert relay.refusals <= 6


async def test_a_mailbox_that_microsoft_does_not_have_is_texted_at_once(started):
    world = await started(Relay((550, "5.4.1 Recipient address rejected: Access denied."), phase=Phase.RCPT), "Ona")

    await world.work()

    assert len(world.senders["sms"].messages) == 1


BLOCKED = HttpAnswer(403, {"content-type": "text/html"}, b"<html>Request blocked</html>")


async def test_a_firewalls_page_for_one_row_is_that_rows_if_the_others_get_their_sessions(make):
    world = make(lambda request: BLOCKED if b'"C007"' in (request.body or b"") else world.session())
    world.add_many(60)

    await living(world, 2)

    assert world.budget().stopped_at is None
    assert {row.customer_id for row in world.rows(Job, state=JobState.FAILED)} == {"C007"}
