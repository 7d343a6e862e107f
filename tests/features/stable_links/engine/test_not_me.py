"""A visitor of a link says that it is for another person: nothing more is sent until a person has decided."""

import json
import re
from datetime import timedelta

import pytest

from onboarding_testing.fakes import FakeSender
from onboarding_worker.core.database.tables import Audit, InvitationRow, Job, SessionRow, StableLink
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.rows.usage import sessions_of
from onboarding_worker.features.stable_links.landing import Gone, Lead
from onboarding_worker.features.stable_links.routes import landings_of
from onboarding_worker.features.stable_links.store.landings import Outcome
from onboarding_worker.lists.decisions.row_addresses import read_rows
from onboarding_worker.lists.decisions.store.decisions import RepeatCost, Verdict
from onboarding_worker.lists.decisions.store.settlement import Which
from onboarding_worker.lists.importing.list_import import USUAL
from onboarding_worker.reporting.store.outlook import CallsNow
from tests.features.stable_links.engine.test_stable_links import AHEAD, DAY, ON_CLICK, later
from tests.simulated.world import customer
from tests.suite.of_features import needs

REMINDED = 'most = 2\nreminders = ["1 day", "2 days"]'


@pytest.fixture
def world(make):
    return make(sender=AHEAD, follow_up=REMINDED)


def secrets_of(world):
    """The secret parts of the links in the messages, in the order in which they left."""
    texts = [message.text for message in world.senders["email"].messages]
    return [found for text in texts for found in re.findall(r"/s/([\w-]{24})(?![\w-])", text)]


def stop(world, secret):
    return landings_of(world.parts).stop(secret, now=world.clock())


def see(world, secret):
    return landings_of(world.parts).see(secret, now=world.clock()).decision


async def sent(world, *names):
    world.add(*(customer(name) for name in names))
    await world.work()
    return dict.fromkeys(secrets_of(world))


async def test_no_message_follows_on_any_channel_and_a_person_must_decide(world):
    (secret,) = await sent(world, "A")

    assert stop(world, secret) is Outcome.STOPPED
    await later(world, 30 * DAY)

    assert len(world.senders["email"].messages) == 1
    job = world.job("A")
    assert (job.state, job.reason, job.due_at) == ("held", Reason.NOT_ME, None)
    assert [row.state for row in world.rows(SessionRow)] == ["superseded"]
    waiting = [row for row in world.rows(InvitationRow) if row.state == "waiting"]
    assert waiting == []


async def test_a_session_that_was_never_bought_is_not_counted_as_one_afterwards(make):
    world = make(sender=ON_CLICK, follow_up=REMINDED)
    (secret,) = await sent(world, "A")

    assert stop(world, secret) is Outcome.STOPPED

    with world.parts.database.read() as connection:
        assert sessions_of(connection, ["A"])["A", "onboarding"] == 0
    assert [row.state for row in world.rows(SessionRow)] == ["deferred"]


async def test_the_link_leads_nowhere_any_more_as_one_that_never_was(world):
    (secret,) = await sent(world, "A")
    assert see(world, secret) == Lead()

    stop(world, secret)

    assert see(world, secret) == Gone()
    assert world.rows(StableLink) == []
    assert stop(world, secret) is Outcome.GONE


async def test_the_audit_log_says_that_the_customer_did_it_and_nothing_personal(world):
    (secret,) = await sent(world, "A")
    stop(world, secret)

    entry = world.rows(Audit)[-1]
    assert (entry.actor, entry.action, entry.subject) == ("customer", "link.not-me", "customer A")
    assert secret not in json.dumps([entry.reason, entry.subject])
    assert "a@example.org" not in entry.reason


async def test_other_customers_keep_their_links_and_messages(world):
    first, second = await sent(world, "A", "B")
    stop(world, first)

    await later(world, DAY)

    assert {see(world, first), see(world, second)} == {Gone(), Lead()}
    assert len(world.senders["email"].messages) == 3  # the reminder of the other one


@needs("service_desk")
async def test_once_a_person_has_corrected_the_address_a_new_link_goes_there(world):
    from onboarding_worker.features.service_desk.corrections import Correction
    from onboarding_worker.features.service_desk.opened import desk_of

    (secret,) = await sent(world, "A")
    stop(world, secret)

    desk_of(world.parts).correct("A", Correction({"email": "right@example.org"}), by_hand=True, now=world.clock())
    batch = world.job("A").batch_id
    swept = world.parts.decisions.resolve(Which(batch), Verdict.REPEAT, now=world.clock())
    assert (swept.rows, world.job("A").state) == (0, "held")  # only a row that is named by itself is asked again
    named = Which(batch, rows=read_rows(str(world.job("A").row)))
    assert world.parts.decisions.repeat_cost(Which(batch)) == RepeatCost({}, {}, {Reason.NOT_ME: 1})
    assert world.parts.decisions.repeat_cost(named) == RepeatCost({"kyc": 1}, {})
    world.parts.decisions.resolve(named, Verdict.REPEAT, now=world.clock())
    await later(world, timedelta(minutes=1))

    first, second = world.senders["email"].messages
    assert (first.to, second.to) == ("a@example.org", "right@example.org")
    fresh = secrets_of(world)[-1]
    assert fresh != secret
    assert see(world, fresh) == Lead()
    assert see(world, secret) == Gone()
    assert [row.state for row in world.rows(SessionRow)] == ["superseded", "waiting"]


@pytest.mark.parametrize("when", [AHEAD, ON_CLICK])
async def test_a_later_list_goes_on_with_no_link_that_was_refused_after_a_cancel(make, when):
    world = make(sender=when, follow_up=REMINDED)
    (secret,) = await sent(world, "A")
    world.parts.decisions.cancel(world.job("A").batch_id, now=world.clock())
    assert stop(world, secret) is Outcome.STOPPED

    fresh = [*await sent(world, "A")][-1]

    assert fresh != secret
    assert len(world.senders["email"].messages) == 2
    assert see(world, fresh) != Gone()


async def test_check_counts_no_message_where_our_own_link_has_left_and_leads_on(make):
    world = make(sender=ON_CLICK, follow_up=REMINDED)
    (secret,) = await sent(world, "A")
    calls = CallsNow(world.parts.database, digest="another list", rule=USUAL.rule)
    key = {("A", "onboarding")}
    world.parts.decisions.cancel(world.job("A").batch_id, now=world.clock())
    assert calls.of(key, now=world.clock()) == (set(), {})

    stop(world, secret)
    assert calls.of(key, now=world.clock()) == (key, {})


@pytest.mark.parametrize("text", ["", "0" * 24, "../../etc", "ą" * 24])
async def test_what_is_no_link_stops_nothing(world, text):
    await sent(world, "A")

    assert stop(world, text) is Outcome.GONE
    assert world.job("A").state == "invited"


async def test_a_reminder_that_was_added_at_that_moment_does_not_leave_either(world):
    """The result of a message that was leaving is written afterwards, and adds its reminders."""
    (secret,) = await sent(world, "A")
    stop(world, secret)
    world.set(InvitationRow, InvitationRow.kind != "invitation", state="waiting", due_at=world.clock(), reason="")

    await later(world, DAY)

    assert len(world.senders["email"].messages) == 1
    assert {row.state for row in world.rows(InvitationRow)} == {"sent", "superseded"}


@pytest.mark.both_databases
async def test_a_message_that_was_under_way_at_that_moment_and_did_not_leave_never_does(make):
    class Interrupted(FakeSender):
        async def send(self, message, may_write=None):
            if len(self.messages) != 1:
                return await super().send(message, may_write)
            assert stop(world, *secrets_of(world)) is Outcome.STOPPED
            return Problem(Kind.TRANSIENT, "451 try later")

    world = make(sender=AHEAD, follow_up=REMINDED, senders={"email": Interrupted()})
    await sent(world, "A")
    await later(world, DAY)
    assert world.rows(StableLink) == []
    await later(world, DAY)

    assert len(world.senders["email"].messages) == 1
    assert [row for row in world.rows(InvitationRow) if row.state == "waiting"] == []
    assert world.rows(StableLink) == []


async def test_while_a_session_is_being_asked_for_nothing_is_changed(world):
    (secret,) = await sent(world, "A")
    world.set(Job, state="working")

    assert stop(world, secret) is Outcome.MOMENT
    assert see(world, secret) != Gone()
    assert [row.state for row in world.rows(SessionRow)] == ["waiting"]
