"""Rounds of renewals in virtual time: each approved customer is asked again in time, and once."""

import random
from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.facts import SessionsCompleted, happened
from onboarding_worker.core.database.tables import CustomerRow, InvitationRow, Job, SessionRow
from onboarding_worker.core.model.channels import SuppressionReason
from onboarding_worker.core.model.states import JobState, SessionState
from onboarding_worker.core.rows.suppressions import suppress
from onboarding_worker.features.renew.section import after
from onboarding_worker.features.renew.standing import STANDINGS
from onboarding_worker.features.renew.store.asking import Renewing
from onboarding_worker.features.renew.store.renewals import RenewalRow
from tests.simulated.world import World, customer

RENEW = 'most = 2\n[renew]\nevery = "24 months"\nbefore = "30 days"\n[retention]\npersonal = "3000 days"\n'
DAY = timedelta(days=1)


@pytest.fixture
def world(make) -> World:
    return make(follow_up=RENEW)


def approve(world: World, *names: str) -> None:
    """As a webhook writes it."""
    now = world.clock()
    with world.parts.database.write() as connection:
        for name in names:
            found = sa.select(SessionRow.id).where(SessionRow.customer_id == name, SessionRow.state == "waiting")
            (id_,) = connection.execute(found).scalars()
            ended = {"state": SessionState.COMPLETED, "result": "approved", "update_at": now, "check_at": None}
            connection.execute(sa.update(SessionRow).where(SessionRow.id == id_).values(ended))
            job = sa.update(Job).where(Job.session_id == id_)
            connection.execute(job.values(state=JobState.COMPLETED, result="approved", due_at=None, changed_at=now))
            happened(connection, SessionsCompleted([id_], "approved"), now=now)


async def approved(world: World, *names: str) -> None:
    world.add(*map(customer, names))
    await world.work()
    approve(world, *names)


def ask(world: World) -> int:
    renewing, looked = Renewing(world.parts), 0
    while more := renewing.ask(now=world.clock()):
        looked += more
    return looked


def standing(world: World):
    return STANDINGS.read(world.parts.settings, world.parts.database, {}, world.clock()).facts["renewals"]


def to_the_day(world: World) -> timedelta:
    """From now to the day on which those who were approved now are asked again."""
    return after(world.clock(), 24) - timedelta(days=30) - world.clock()


async def test_round_after_round_everybody_is_asked_in_time_and_nobody_twice(make):
    world = make(follow_up=RENEW.replace("24 months", "6 months"))  # two rounds in little more than a year
    drawn = random.Random(5)  # noqa: S311
    names = [f"C{number:03}" for number in range(24)]
    answers: dict[int, list[str]] = {}  # by the day, who is approved
    asked: dict[str, list] = {name: [] for name in names}
    approvals: dict[str, list] = {name: [] for name in names}
    starts = {name: drawn.randrange(0, 90, 30) for name in names}
    for day in range(420):
        new = [name for name in names if starts[name] == day]
        if new:
            world.add(*map(customer, new))
        if ask(world) or new:
            await world.work()
            for row in world.rows(SessionRow, state=SessionState.WAITING):
                if row.issued_at.date() == world.clock().date():
                    asked[row.customer_id].append(world.clock())
                    answers.setdefault(day + drawn.randrange(1, 7), []).append(row.customer_id)
        for name in answers.pop(day, []):
            approve(world, name)
            approvals[name].append(world.clock())
        world.clock.advance(days=1)

    now = world.clock()
    for name in names:
        wanted = [after(at, 6) - timedelta(days=30) for at in approvals[name]]
        due = [at for at in wanted if at + DAY < now]
        late = [then - at for then, at in zip(asked[name][1:], due, strict=True)]
        assert all(timedelta(0) <= one <= DAY for one in late), (name, late)
    assert {len(times) for times in asked.values()} == {3}
    messages = [row for row in world.rows(InvitationRow) if row.state.value == "sent"]
    assert len(messages) == 3 * len(names)
    assert not any(row.new_link for row in messages)


async def test_who_is_erased_cancelled_suppressed_or_without_details_is_not_asked_and_is_named(world):
    await approved(world, "Ona", "Jonas", "Eva", "Vytas")
    world.set(CustomerRow, CustomerRow.customer_id == "Ona", encrypted=None)
    with world.parts.database.write() as connection:
        reason, now = SuppressionReason.MANUAL, world.clock()
        suppress(connection, world.parts.keyring, "email", "jonas@example.org", reason, source="test", now=now)
        suppress(connection, world.parts.keyring, "sms", "+37060000001", reason, source="test", now=now)
    world.clock.advance(days=1)
    world.add(customer("Rasa"))
    world.set(Job, Job.customer_id == "Eva", created_at=world.clock(), state=JobState.CANCELLED)
    world.clock.advance(seconds=to_the_day(world).total_seconds())
    ask(world)
    found = {one["customer"]: one["why"] for one in standing(world)["not_asked"]}
    assert found == {"Ona": "details_gone", "Jonas": "suppressed", "Eva": "cancelled"}
    assert len(world.rows(Job, customer_id="Vytas")) == 2
    assert ask(world) == 0


async def test_who_was_cancelled_and_finished_all_the_same_is_not_asked_until_it_is_requested_again(world):
    await approved(world, "Ona")
    world.set(Job, Job.customer_id == "Ona", state=JobState.CANCELLED)  # its link was in use then
    world.clock.advance(seconds=to_the_day(world).total_seconds())
    ask(world)
    assert [one["why"] for one in standing(world)["not_asked"]] == ["cancelled"]
    world.add(customer("Ona"))
    await world.work()
    approve(world, "Ona")
    world.clock.advance(days=730)
    ask(world)
    assert standing(world)["not_asked"] == []
    assert len(world.rows(Job, customer_id="Ona")) == 3


async def test_a_newer_approval_counts_and_one_that_is_taken_back_does_not(world):
    await approved(world, "Ona", "Jonas")
    (first,) = world.rows(SessionRow, customer_id="Jonas")
    world.clock.advance(days=400)
    again = world.add(customer("Ona"))
    world.set(Job, Job.batch_id == again, state=JobState.WAITING, due_at=world.clock(), leader_id=None, result="")
    await world.work()
    approve(world, "Ona")
    with world.parts.database.write() as connection:
        happened(connection, SessionsCompleted([first.id], "denied"), now=world.clock())
    world.clock.advance(days=400)
    assert ask(world) == 0
    world.clock.advance(days=400)
    assert ask(world) == 1
    assert {row.customer_id for row in world.rows(RenewalRow)} == {"Ona"}


async def test_a_pause_of_months_is_caught_up_with_by_the_day_oldest_first(make):
    world = make(follow_up=RENEW.replace("[retention]", "per_day = 3\n[retention]"))
    names = [f"C{number}" for number in range(8)]
    for name in names:
        await approved(world, name)
        world.clock.advance(days=1)
    weeks = standing(world)["weeks"]
    assert (standing(world)["due"], sum(weeks)) == (0, 0)
    world.clock.advance(days=1000)
    assert standing(world)["due"] == 8
    for expected in (3, 3, 2, 0):
        assert ask(world) == expected
        world.clock.advance(days=1)
    rows = sorted(world.rows(RenewalRow), key=lambda row: row.over_at)
    assert [row.customer_id for row in rows] == sorted(names)
