"""Sending invitations: each once, to the right address, with a link that still has life in it."""

import asyncio
from datetime import timedelta

import pytest

from onboarding_testing.fakes import FakeSender
from onboarding_worker.core.claim.claims import Room
from onboarding_worker.core.database.tables import Attempt, Batch, InvitationRow, SessionRow
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.states import InvitationState, JobState
from onboarding_worker.reporting.store.spending import spending_of
from onboarding_worker.wiring.work import invite_work
from tests.simulated.world import customer

LATER = Problem(Kind.TRANSIENT, "450 try later", status=450)
GONE = Problem(Kind.BAD_INPUT, "550 no such user", status=550)
UNSURE = Problem(Kind.UNKNOWN, "connection lost after the last line")
TOO_MANY = Problem(Kind.RATE_LIMITED, "421 too many messages", status=421, retry_after=timedelta(seconds=60))
BAD_LOGIN = Problem(Kind.AUTH, "535 authentication failed", status=535)


def senders(*answers, **how):
    return {"email": FakeSender(answers, **how), "sms": FakeSender()}


async def issued(world, *customers, **how):
    world.add(*customers or [customer("Ona")], **how)
    await world.issue()


async def test_both_channels_get_one_message_each_to_their_own_address(make):
    world = make()
    await issued(world, customer("Ona", channel=Channel.BOTH))
    await world.work()
    (mail,), (text,) = world.senders["email"].messages, world.senders["sms"].messages
    assert (mail.to, text.to) == ("ona@example.org", "+37060000001")
    assert mail.html
    assert not text.html
    assert "https://verify.test/token-00000001" in mail.text
    assert "https://verify.test/token-00000001" in text.text
    assert world.states() == {"invited": 1}


@pytest.mark.parametrize(("name", "segments"), [("Example Bank", 1), ("Банк", 2)])
async def test_a_text_is_charged_by_its_segments(make, name, segments):
    texts = f'[sms]\naccount = "AC1"\ntoken = {{ env = "SECRET" }}\nfrom = "+15005550006"\n[brand]\nname = "{name}"'
    world = make(sender=texts)
    await issued(world, customer("Ona", channel=Channel.BOTH))
    await world.work()

    (facts,) = spending_of(world.parts.database, world.row(Batch).id).routes.values()

    assert facts.messages == {"email": 1, "sms": 1}
    assert facts.charged == {"email": 1, "sms": segments}


async def test_the_key_of_a_message_is_its_invitations_id(make):
    world = make()
    await issued(world)
    await world.work()
    assert world.senders["email"].messages[0].key == world.message().id.hex


async def test_a_message_is_in_the_customers_language(make):
    world = make()
    await issued(world, customer("Ona", locale="lt"), customer("Hans", locale="de-AT"))
    await world.work()
    assert {message.language for message in world.senders["email"].messages} == {"lt", "de"}


async def test_a_hand_over_is_in_the_database_before_the_sender_sees_the_message(make):
    class Watching(FakeSender):
        async def send(self, message, may_write=None):
            (attempt,) = [row for row in world.rows(Attempt) if row.account == "email"]
            assert (attempt.closed_at, attempt.invitation_id.hex) == (None, message.key)
            return await super().send(message, may_write)

    world = make(senders={"email": Watching()})
    await issued(world)
    await world.invite()
    assert len(world.senders["email"].messages) == 1


async def test_a_repeated_message_keeps_its_key(make):
    world = make(senders=senders(LATER, LATER))
    await issued(world)
    for _ in range(3):
        await world.invite()
        world.clock.advance(minutes=11)
    sender = world.senders["email"]
    assert {message.key for message in [*sender.refused, *sender.messages]} == {world.message().id.hex}
    assert (world.message().attempts, world.message().state) == (3, InvitationState.SENT)


@pytest.mark.parametrize(("hold", "state", "job"), [(False, "waiting", JobState.ISSUED), (True, "held", JobState.HELD)])
async def test_a_message_with_an_unknown_outcome_is_repeated_or_held_as_configured(make, hold, state, job):
    world = make(senders=senders(UNSURE, hold_unknown=hold))
    await issued(world)
    await world.invite()
    assert (world.message().state, world.job("Ona").state) == (state, job)


async def test_a_refused_address_fails_its_job_with_the_reason(make):
    world = make(senders=senders(GONE))
    await issued(world, customer("Ona"), customer("Jonas"))
    await world.work()
    assert world.states() == {"failed": 1, "invited": 1}
    (failed,) = [row for row in map(world.job, ("Ona", "Jonas")) if row.state is JobState.FAILED]
    assert (failed.reason, failed.detail) == ("message_refused", "550 no such user")


async def test_a_rate_limit_of_the_relay_pauses_the_channel_and_counts_no_attempt(make):
    world = make(senders=senders(TOO_MANY))
    world.add_many(10)
    await world.issue()
    await world.invite()
    sent = len(world.senders["email"].messages)
    assert sent < 4
    assert world.budget("sender/email").blocked_until - world.clock() <= timedelta(seconds=60)
    assert sum(row.waits for row in world.rows(InvitationRow)) == 1
    assert not await world.tick()
    world.clock.advance(seconds=61)
    await world.work()
    assert world.states() == {"invited": 10}
    assert len(world.senders["email"].messages) == 10


async def test_a_relay_that_refuses_our_login_stops_the_channel_and_nothing_else(make):
    world = make(senders=senders(*[BAD_LOGIN] * 4))
    await issued(world, customer("Ona", channel=Channel.BOTH))
    await world.work()
    assert world.budget("sender/email").stop_reason == "535 authentication failed"
    assert len(world.senders["sms"].messages) == 1
    assert {row.channel: row.state.value for row in world.rows(InvitationRow)} == {"email": "waiting", "sms": "sent"}


async def test_a_bug_in_the_sender_gives_an_unknown_outcome_and_loses_no_message(make, caplog):
    class Broken(FakeSender):
        async def send(self, message, may_write=None):
            raise RuntimeError(f"could not reach {message.to}")

    world = make(senders={"email": Broken(hold_unknown=True)})
    await issued(world)
    await world.invite()
    assert (world.message().state, world.message().reason) == (InvitationState.HELD, "unknown")
    assert "RuntimeError" in world.message().detail
    assert "ona@" not in caplog.text + world.message().detail


async def test_no_more_messages_are_in_flight_than_the_relay_has_connections(make):
    class Slow(FakeSender):
        out = most = 0

        async def send(self, message, may_write=None):
            Slow.out += 1
            Slow.most = max(Slow.most, Slow.out)
            await asyncio.sleep(0.1)
            Slow.out -= 1
            return await super().send(message, may_write)

    world = make(senders={"email": Slow()})
    world.add_many(20)
    await world.issue()
    await world.invite()
    assert (Slow.most, len(world.senders["email"].messages)) == (4, 20)


# Links that are too old to send.


async def test_a_stale_link_is_not_sent_and_a_new_session_follows(make):
    world = make()
    await issued(world)
    world.clock.advance(days=6, hours=13)  # eleven hours left, the floor is twelve
    await world.invite()
    assert world.senders["email"].messages == []
    job = world.job("Ona")
    assert (job.state, job.reason) == (JobState.WAITING, "stale_link")
    assert job.due_at == world.row(SessionRow).expires_at  # the provider opens no new session before the old one ends
    assert not await world.tick()

    world.clock.advance(hours=11)
    await world.work()
    (message,) = world.senders["email"].messages
    assert "token-00000002" in message.text
    assert (world.job("Ona").state, world.job("Ona").reissues) == (JobState.INVITED, 1)
    assert {row.state.value for row in world.rows(SessionRow)} == {"expired", "waiting"}


async def test_a_link_with_just_its_floor_left_is_sent(make):
    world = make()
    await issued(world)
    left = world.row(SessionRow).expires_at - world.clock()
    world.clock.elapsed += (left - timedelta(hours=12, seconds=1)).total_seconds()
    await world.invite()
    assert len(world.senders["email"].messages) == 1


async def test_links_that_go_stale_repeatedly_end_with_the_cap(make):
    world = make()
    await issued(world)
    for _ in range(3):
        world.clock.advance(days=6, hours=13)
        await world.invite()
        world.clock.advance(days=1)
        await world.issue()
    assert (world.job("Ona").state, world.job("Ona").reason) == (JobState.LAPSED, "reissues_spent")
    assert len(world.asked) == 3  # the first and two more: [follow_up] most = 2
    assert world.senders["email"].messages == []


async def test_a_stale_link_of_an_account_that_is_no_longer_configured_waits_for_its_end(make):
    world = make()
    await issued(world)
    del world.parts.providers["kyc"]
    world.clock.advance(days=6, hours=13)
    work = invite_work(world.parts, "email")
    assert work.flush([], Room(10, 10)).opened == []
    assert world.job("Ona").due_at == world.row(SessionRow).expires_at


async def test_a_fresh_link_next_to_a_stale_one_is_sent(make):
    world = make()
    await issued(world)
    world.clock.advance(days=6, hours=13)
    await issued(world, customer("Jonas"))
    await world.invite()
    assert [message.to for message in world.senders["email"].messages] == ["jonas@example.org"]


# Templates.


async def test_a_template_that_does_not_work_is_held_and_names_the_template_not_the_customer(make, tmp_path):
    folder = tmp_path / "templates" / "default" / "en"
    folder.mkdir(parents=True)
    (folder / "subject.txt").write_text("Please verify yourself")
    (folder / "body.txt").write_text("{{ link }} {{ expires_at.nothing.here }} {{ 1 / 0 }}")
    world = make(templates=f'templates = "{tmp_path / "templates"}"')
    await issued(world)
    await world.invite()
    message = world.message()
    assert (message.state, message.reason) == (InvitationState.HELD, "template")
    assert "body.txt" in message.detail
    assert "verify.test" not in message.detail
    assert world.job("Ona").state is JobState.HELD
    assert world.senders["email"].messages == []
    (attempt,) = world.rows(Attempt, account="email")
    assert (attempt.closed_at is not None, attempt.outcome) == (True, "bad_input")


async def test_an_inactive_customer_is_reminded_gets_another_link_and_then_no_more_messages(make):
    world = make(follow_up='most = 2\nreminders = ["1 day"]')
    world.provider.lifetime = timedelta(days=2)
    await issued(world)
    for _ in range(10):
        await world.work()
        world.clock.advance(days=1)
    mails = world.senders["email"].messages
    links = [next(word for word in mail.text.split() if word.startswith("https://")) for mail in mails]
    assert len(mails) == 6
    assert links[0] == links[1] != links[2] == links[3] != links[4] == links[5]
    assert ["reminder" in mail.subject.lower() for mail in mails] == [False, True] * 3
    job = world.job("Ona")
    assert (job.state, job.reason) == (JobState.LAPSED, "reissues_spent")
    assert len(world.asked) == 3


async def test_the_message_names_the_end_of_the_link_by_the_customers_own_clock(make):
    world = make()
    await issued(world, customer("Ona", locale="en", country="LT", timezone=""))
    await world.invite()
    (message,) = world.senders["email"].messages
    assert "(EET)" in message.text or "(EEST)" in message.text
    assert "(UTC)" not in message.text


async def test_a_customer_whose_link_has_ended_is_told_that_the_next_one_replaces_it(make):
    world = make()
    await issued(world, customer("Ona", locale="en"))
    await world.invite()
    world.clock.advance(days=8)
    await world.work()
    first, second = world.senders["email"].messages
    assert "Your new link replaces the earlier one" not in first.text
    assert "Your new link replaces the earlier one" in second.text
    assert second.subject != first.subject
