"""No message leaves in the recipient's quiet hours, and no session is opened that would only wait."""

from datetime import UTC, datetime, timedelta

import pytest

from onboarding_worker.core.database.tables import Attempt, CustomerRow, InvitationRow, Job, SessionRow
from onboarding_worker.core.model.customers import Channel, Person
from onboarding_worker.core.model.http_messages import Broken
from onboarding_worker.core.model.states import InvitationState, JobState
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.lists.importing.judging import options_of
from onboarding_worker.lists.importing.list_import import import_list
from tests.simulated.events import requested
from tests.simulated.stalling import Stalling
from tests.simulated.world import customer

MORNING = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)  # eight o'clock in Vilnius


def at_night(make, *channels, **how):
    """Ten o'clock in the evening, in the configured time zone."""
    hours = ", ".join(f'{channel} = "21:00-08:00"' for channel in channels or ("email",))
    world = make(templates=f"quiet_hours = {{ {hours} }}", **how)
    world.clock.advance(hours=8)
    return world


def at(world, moment):
    world.clock.advance(seconds=(moment - world.clock()).total_seconds())


def schedule(row):
    return row.state.value, row.due_at, row.reason, row.lease_until, row.attempts, row.waits


async def until_morning(world, moment=MORNING):
    """Nothing happens before that time; a second later it has."""
    at(world, moment - timedelta(seconds=1))
    before = len(world.asked)
    assert not await world.tick()
    assert (len(world.asked), world.senders["email"].messages) == (before, [])
    world.clock.advance(seconds=1)
    await world.work()


async def test_sessions_of_a_list_that_comes_in_the_evening_are_opened_and_sent_in_the_morning(make, tmp_path):
    world = at_night(make)
    file = tmp_path / "list.csv"
    file.write_text("customer_id,email,country,timezone\nOna,o@example.org,LT,\nJon,j@example.org,LT,Asia/Tokyo\n")
    import_list(world.parts.intake, world.parts.batches, file, options_of(world.parts.intake), name="list.csv")
    assert schedule(world.job("Ona")) == ("waiting", MORNING, "quiet_hours", None, 0, 0)
    tokyo = datetime(2026, 11, 20, 23, 0, tzinfo=UTC)
    assert world.job("Jon").due_at == tokyo
    assert not await world.tick()
    await until_morning(world, tokyo)
    assert world.asked == ["Jon"]
    await world.work()
    at(world, MORNING)
    await world.work()
    assert world.asked == ["Jon", "Ona"]
    assert world.states() == {"invited": 2}
    assert {row.reason for row in world.rows(Job)} == {""}


async def test_whatever_made_a_row_due_it_waits_until_the_morning_and_nothing_is_counted(make):
    world = at_night(make, limits=["10/second"])
    world.add(customer("Ona"), customer("Jonas", timezone="America/Lima"))
    await world.work()
    assert world.asked == ["Jonas"]  # in Lima it is the afternoon
    assert schedule(world.job("Ona")) == ("waiting", MORNING, "quiet_hours", None, 0, 0)
    assert len(world.rows(Attempt)) == 2  # Jonas', and the mail to him
    # The slots of the released rows are free again.
    assert world.budget().next_at <= world.clock() + timedelta(milliseconds=100)
    world.senders["email"].messages.clear()
    await until_morning(world)
    assert world.states() == {"invited": 2}


async def test_a_phone_that_may_be_anywhere_is_written_to_when_it_is_day_everywhere(make):
    world = at_night(make, "sms")
    person = Person(phone="+61491570156", first_name="Kim")  # an Australian mobile: eight zones
    world.add(customer("Kim", channel=Channel.SMS, country="AU", person=person))
    await world.work()
    assert world.asked == []
    # Eight o'clock on the Cocos Islands, which share the number; it is half past twelve in Sydney by then.
    assert world.job("Kim").due_at == datetime(2026, 11, 21, 1, 30, tzinfo=UTC)


async def test_a_customer_in_the_app_gets_the_link_at_night_and_the_message_in_the_morning(make):
    world = at_night(make)
    receiver = world.receiver()
    assert receiver.receive([requested("C-1")]).due == frozenset()
    assert receiver.receive([requested("C-2", invite_after="30 minutes")]).due == {WakeUp.issue("kyc")}
    await world.work()
    assert world.asked == ["C-2"]
    assert (world.job("C-1").due_at, world.job("C-2").state) == (MORNING, JobState.ISSUED)
    assert (world.message().due_at, world.message().reason) == (MORNING, "quiet_hours")
    await until_morning(world)
    assert world.states() == {"invited": 2}


async def test_quiet_hours_delay_neither_fetched_links_nor_reconciliation(make):
    world = at_night(make, outcomes=[Broken(True, "the connection broke")])
    world.provider.lists = True
    world.add(customer("Ona", timezone="America/Lima"), customer("Jonas", channel=Channel.NONE))
    await world.work()
    assert world.states() == {"waiting": 1, "issued": 1}
    world.set(Job, Job.customer_id == "Ona", due_at=world.clock())
    world.set(CustomerRow, CustomerRow.customer_id == "Ona", timezone="Europe/Vilnius")
    assert world.job("Ona").unknown_attempt is not None
    world.clock.advance(minutes=5)
    await world.tick()
    assert len(world.reconciled) == 1


async def test_of_two_channels_the_one_without_quiet_hours_goes_at_once_and_the_other_follows(make):
    world = at_night(make, "sms")
    world.add(customer("Ona", channel=Channel.BOTH))
    await world.work()
    assert len(world.senders["email"].messages) == 1
    assert world.job("Ona").state is JobState.INVITED
    text = world.row(InvitationRow, channel="sms")
    assert schedule(text) == ("waiting", MORNING, "quiet_hours", None, 0, 0)
    at(world, MORNING)
    await world.work()
    assert len(world.senders["sms"].messages) == 1
    assert len(world.asked) == 1


async def test_a_link_that_would_be_too_old_for_the_second_channel_is_not_bought_again(make):
    world = at_night(make, "sms")
    world.add(customer("Ona", channel=Channel.BOTH))
    await world.work()
    at(world, MORNING)
    expires = world.clock() + timedelta(hours=11)
    world.set(SessionRow, expires_at=expires)
    await world.work()
    assert world.row(InvitationRow, channel="sms").state is InvitationState.SUPERSEDED
    assert world.job("Ona").state is JobState.INVITED
    assert (len(world.asked), world.senders["sms"].messages) == (1, [])


async def test_a_short_lived_session_is_opened_when_both_messages_may_leave(make):
    world = at_night(make, "sms")
    world.parts.providers["kyc"].lifetime = timedelta(hours=1)
    world.add(customer("Ona", channel=Channel.BOTH), floor=timedelta(minutes=30))
    await world.work()
    half_past_seven = MORNING - timedelta(minutes=30)
    assert world.job("Ona").due_at == half_past_seven
    at(world, half_past_seven)
    await world.work()
    at(world, MORNING)
    await world.work()
    assert [len(world.senders[channel].messages) for channel in ("email", "sms")] == [1, 1]
    assert len(world.asked) == 1


async def test_a_message_that_is_due_in_the_night_waits_and_counts_no_attempt(make):
    world = at_night(make)
    world.clock.advance(hours=-2)
    world.add(customer("Ona"))
    await world.issue()
    world.clock.advance(hours=2)
    await world.invite()
    assert world.senders["email"].messages == []
    assert schedule(world.message()) == ("waiting", MORNING, "quiet_hours", None, 0, 0)
    await until_morning(world)
    assert len(world.senders["email"].messages) == 1
    assert world.message().reason == ""


async def test_a_message_whose_connection_came_when_quiet_hours_had_begun_waits_until_they_end(make):
    world = at_night(make, senders={"email": Stalling(seconds=5)})
    world.clock.advance(hours=-1, seconds=-3)
    world.add(customer("Ona"))
    await world.issue()
    await world.invite()
    assert world.senders["email"].messages == []
    await world.invite()  # the sweep wakes for it: it is due as before
    assert schedule(world.message()) == ("waiting", MORNING, "quiet_hours", None, 0, 0)
    await until_morning(world)
    assert len(world.senders["email"].messages) == 1


@pytest.mark.parametrize(
    ("evening", "sent"),
    [
        (datetime(2027, 3, 26, 20, tzinfo=UTC), datetime(2027, 3, 27, 6, tzinfo=UTC)),
        (datetime(2027, 3, 27, 20, tzinfo=UTC), datetime(2027, 3, 28, 5, tzinfo=UTC)),  # it skips an hour that night
        (datetime(2027, 10, 30, 19, tzinfo=UTC), datetime(2027, 10, 31, 6, tzinfo=UTC)),  # and shows one twice
    ],
)
async def test_a_night_in_which_the_clocks_change_ends_at_eight_all_the_same(make, evening, sent):
    world = at_night(make)
    at(world, evening)
    world.add(customer("Ona"))
    await world.work()
    await until_morning(world, sent)
    assert world.row(SessionRow).issued_at == sent
    assert sent <= world.message().sent_at < sent + timedelta(seconds=5)


async def test_a_customer_without_a_known_zone_has_the_configured_zone(make):
    world = make(templates='quiet_hours = { email = "21:00-08:00" }\ntimezone = "Asia/Tokyo"')
    ona = customer("Ona", country="", person=Person(email="o@example.org"))
    world.add(ona)
    await world.work()
    assert world.job("Ona").due_at == datetime(2026, 11, 20, 23, tzinfo=UTC)
