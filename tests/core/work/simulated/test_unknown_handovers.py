"""A mail whose hand-over breaks each time: it may have arrived each time, so it counts, waits longer, and stops."""

from dataclasses import replace
from datetime import timedelta

import pytest

from onboarding_testing.fakes import FakeSender
from onboarding_worker.core.database.tables import AddressPlace
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.states import InvitationState, JobState
from onboarding_worker.lists.decisions.store.decisions import Verdict
from onboarding_worker.lists.decisions.store.settlement import Which
from onboarding_worker.senders.contract import Receipt
from tests.simulated.world import customer
from tests.stored.shelf import facts_about

UNSURE = Problem(Kind.UNKNOWN, "connection lost after the last line")
FULL = Problem(Kind.TRANSIENT, "452 no room", status=452)


@pytest.fixture
def breaking(make):
    """A world with one issued customer, whose mails are never confirmed."""

    def build(*answers, settings="messages_per_customer = 4"):
        return make(senders={"email": FakeSender(answers), "sms": FakeSender()}, templates=settings)

    return build


async def start(world, *names):
    batch = world.add(*(customer(name) for name in names or ["Ona"]))
    await world.issue()
    return batch


def messages_of_ona(world):
    return facts_about(world.parts).messages


async def until_held(world):
    """Work until nothing is due any more; returns the waits before each further hand-over."""
    waits = []
    for _ in range(20):
        await world.invite()
        message = world.message()
        if message.due_at is None:
            return waits
        waits.append(message.due_at - world.clock())
        world.clock.advance(seconds=waits[-1].total_seconds())
    raise AssertionError("it is handed over again and again")


async def test_hand_overs_with_an_unknown_outcome_count_as_messages_and_end_at_the_cap(breaking):
    world = breaking(*[UNSURE] * 20)
    await start(world)
    await until_held(world)
    assert len(world.senders["email"].refused) == 4
    assert (world.message().state, world.job("Ona").state) == (InvitationState.HELD, JobState.HELD)
    assert world.job("Ona").reason == "unknown"
    assert "4 hand-overs with an unknown outcome" in world.job("Ona").detail
    assert "messages_per_customer" in world.job("Ona").detail


async def test_from_the_second_on_the_repeats_wait_longer_than_a_failure_and_the_last_is_held_at_once(breaking):
    world = breaking(*[UNSURE] * 20, settings="messages_per_customer = 5")
    await start(world)
    assert [round(wait.total_seconds(), -1) for wait in await until_held(world)] == [0, 30, 120, 480, 0]


async def test_a_waiting_repeat_says_why(breaking):
    world = breaking(UNSURE)
    await start(world)
    await world.invite()
    assert world.message().detail.endswith("1 hand-over with an unknown outcome, which counts as a message")
    assert messages_of_ona(world) == 1


async def test_a_mail_that_leaves_at_last_counts_with_its_unknown_hand_overs(breaking):
    world = breaking(UNSURE, FULL, UNSURE)
    await start(world)
    for _ in range(4):
        await world.invite()
        world.clock.advance(minutes=40)
    assert world.message().state is InvitationState.SENT
    assert world.message().unknown_handovers == 2
    refused, sent = world.senders["email"].refused, world.senders["email"].messages
    assert len({(mail.key, mail.at) for mail in (*refused, *sent)}) == 1
    assert messages_of_ona(world) == 3  # the refused one certainly did not arrive


async def test_a_mail_that_was_only_refused_has_the_date_of_its_own_hand_over(breaking):
    world = breaking(FULL)
    await start(world)
    await world.invite()
    world.clock.advance(minutes=40)
    await world.invite()
    (refused,), (sent,) = world.senders["email"].refused, world.senders["email"].messages
    assert sent.at - refused.at >= timedelta(minutes=40)


async def test_each_takes_a_place_of_the_address(breaking):
    world = breaking(UNSURE, UNSURE, settings='messages_per_address = "3 / 7 days"')
    ona = customer("Ona")
    jonas = replace(customer("Jonas"), person=ona.person)
    world.add(ona)
    await world.issue()
    for _ in range(3):
        await world.invite()
        world.clock.advance(minutes=40)
    assert len(world.rows(AddressPlace)) == 3
    world.add(jonas)
    await world.work()
    assert world.job("Jonas").reason == "address_spent"


async def test_a_person_who_repeats_a_held_mail_has_it_count_twice(make):
    world = make(senders={"email": FakeSender([UNSURE], hold_unknown=True), "sms": FakeSender()})
    batch = await start(world)
    await world.invite()
    assert world.message().state is InvitationState.HELD
    world.parts.decisions.resolve(Which(batch), Verdict.REPEAT, now=world.clock())
    await world.work()
    assert world.message().state is InvitationState.SENT
    assert messages_of_ona(world) == 2


async def test_a_held_mail_that_a_person_gives_up_counts_and_keeps_its_place_as_it_may_have_arrived(make):
    senders = {"email": FakeSender([UNSURE], hold_unknown=True), "sms": FakeSender()}
    world = make(senders=senders, templates='messages_per_address = "1 / 7 days"')
    batch = await start(world)
    await world.invite()
    assert messages_of_ona(world) == 1
    world.parts.decisions.resolve(Which(batch), Verdict.ABANDON, now=world.clock())
    assert world.message().state is InvitationState.FAILED
    assert messages_of_ona(world) == 1
    world.add(replace(customer("Jonas"), person=customer("Ona").person))
    await world.work()
    assert world.job("Jonas").reason == "address_spent"


async def test_a_text_that_is_cancelled_before_it_was_looked_up_counts(make):
    sms = '[sms]\naccount = "AC1"\ntoken = { env = "SECRET" }\nfrom = "+15005550006"'
    texts = FakeSender([UNSURE], hold_unknown=True, found=[Receipt("SM1")])
    world = make(senders={"email": FakeSender(), "sms": texts}, sender=sms)
    batch = world.add(customer("Ona", channel=Channel.SMS))
    await world.issue()
    await world.invite("sms")
    world.parts.decisions.cancel(batch, now=world.clock())
    assert world.message().state is InvitationState.SUPERSEDED
    assert messages_of_ona(world) == 1


async def test_a_text_with_an_unknown_outcome_is_looked_up_and_not_repeated(make):
    texts = FakeSender([UNSURE], hold_unknown=True, found=[Receipt("SM1")])
    sms = '[sms]\naccount = "AC1"\ntoken = { env = "SECRET" }\nfrom = "+15005550006"'
    world = make(senders={"email": FakeSender(), "sms": texts}, sender=sms)
    world.add(customer("Ona", channel=Channel.SMS))
    await world.issue()
    await world.invite("sms")
    assert (len(texts.refused), world.message().unknown_handovers) == (1, 0)
    assert messages_of_ona(world) == 1
    world.clock.advance(minutes=2)
    await world.invite("sms")
    assert (len(texts.refused), texts.messages, len(texts.asked)) == (1, [], 1)
    assert world.message().state is InvitationState.SENT
    assert messages_of_ona(world) == 1
