"""Who is asked again is asked as before: in the same name, by the same route, with what the row said to the provider,
as far as it may still say that."""

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.encrypted_values import ERASED, decrypt_line
from onboarding_worker.core.database.tables import Job, SessionRow
from onboarding_worker.core.model.states import JobState
from onboarding_worker.lists.store.admission import admit
from tests.features.renew.test_renewals import RENEW, approve, ask, standing, to_the_day
from tests.simulated.events import requested
from tests.simulated.two_brands import ASKED, GIVEN, ROUTE, SAYS, asked, brands, bring_in, two_brands
from tests.simulated.world import customer

NOVA = ["nova", "nova"]


def renewing(make, **how):
    return two_brands(make, RENEW, **how)


async def approved(world, *names, **values) -> None:
    bring_in(world, *names, **values)
    await world.work()
    approve(world, *names)


async def renewed(world) -> list:
    """The rows that ask again, as they are after their calls."""
    world.clock.advance(seconds=to_the_day(world).total_seconds())
    before = {row.id for row in world.rows(Job)}
    ask(world)
    await world.work()
    return [row for row in world.rows(Job) if row.id not in before]


def said(world, job):
    return decrypt_line(world.parts.keyring, job.batch_id, job.row, job.encrypted)


@pytest.mark.parametrize("values", [{}, {"brand": ""}, {"tags": ""}], ids=["both", "by route", "by column"])
async def test_a_renewal_has_the_brand_the_tags_and_the_parameters_of_the_row_that_was_approved(make, values):
    world = renewing(make)
    await approved(world, "Ona", **values)
    (job,) = await renewed(world)
    first, again = asked(world)
    assert first == again == ASKED | {"clientId": "Ona"}
    assert brands(world) == NOVA
    was = world.rows(Job, customer_id="Ona")[0]
    for name in ("brand", "account", "route", "sets", "channel", "template", "entity_id", "consent", "purpose"):
        assert getattr(job, name) == getattr(was, name), name
    assert said(world, job) == said(world, was)
    assert job.state is JobState.INVITED


async def test_by_an_event_as_by_a_list(make):
    world = renewing(make, rights=f"library = {GIVEN}")
    world.receiver().receive([requested("Ona", **SAYS)])
    await world.work()
    approve(world, "Ona")
    await renewed(world)
    assert asked(world) == [ASKED | {"clientId": "Ona"}] * 2
    assert brands(world) == NOVA


async def test_a_brand_that_is_no_more_keeps_the_renewal_back_and_nothing_leaves_in_another_name(make):
    world = renewing(make)
    await approved(world, "Ona")
    later = renewing(make, routes="", brands="")
    (job,) = await renewed(later)
    assert (job.state, job.reason, brands(later)) == (JobState.WAITING, "brand_missing", [])


@pytest.mark.parametrize("lost", [{"per_row": "[]"}, {"rights": "lists = []"}])
async def test_what_the_row_may_not_say_any_more_keeps_the_renewal_back_until_it_may(make, lost):
    world = renewing(make)
    await approved(world, "Ona")
    later = renewing(make, **lost, route=["kyc", "au"])
    (job,) = await renewed(later)
    assert (job.state, job.reason, asked(later), brands(later)) == (JobState.WAITING, "right_missing", [], [])
    assert "idenfy-kyc.checkAml" in job.detail
    assert (job.sets, job.fallback_accounts) == ("idenfy-kyc.checkAml", "")
    (need,) = (one for one in later.parts.operation.report().attention if one.what == "right")
    assert (need.name, need.rows) == ("kyc", 1)

    given = renewing(make)
    given.parts.resume()
    await given.work()
    assert asked(given) == [ASKED | {"clientId": "Ona"}]
    assert brands(given) == ["nova"]


async def test_the_right_of_one_origin_does_not_renew_what_another_one_brought(make):
    rights = f"lists = {GIVEN}\nuploads = {GIVEN}"
    world = renewing(make, rights=rights)
    await approved(world, "Ona", origin="uploads")
    later = renewing(make)  # lists alone
    (job,) = await renewed(later)
    assert (job.reason, asked(later)) == ("right_missing", [])
    assert "rights.uploads" in job.detail


@pytest.mark.parametrize("by", ["column", "list"])
async def test_a_row_of_a_named_account_is_renewed_there_and_waits_once_it_may_not_name_it(make, by):
    named = {"per_row": '["account", "checkAml"]', "rights": 'lists = ["account", "idenfy-kyc.checkAml"]'}
    elsewhere = ROUTE.replace("kyc", "au")
    world = renewing(make, **named if by == "column" else {}, routes=elsewhere)
    given = {"account": "kyc"} if by == "column" else {"default": "kyc"}
    await approved(world, "Ona", **given)
    (job,) = await renewed(world)
    was = world.rows(Job, customer_id="Ona")[0]
    assert (job.account, job.route, job.sets) == (was.account, was.route, was.sets)
    assert [one["clientId"] for one in asked(world)] == ["Ona", "Ona"]
    approve(world, "Ona")

    later = renewing(make, routes=elsewhere)  # rows may not name an account
    (job,) = await renewed(later)
    assert (job.reason, len(asked(later))) == (("right_missing", 0) if by == "column" else ("", 1))


async def test_a_list_that_brings_the_customer_later_and_is_not_worked_changes_nothing(make):
    world = renewing(make)
    await approved(world, "Ona")
    world.add(customer("Ona", tags=("other",)))
    assert world.rows(Job, customer_id="Ona")[-1].reason == "already_finished"
    (job,) = await renewed(world)
    assert (job.brand, said(world, job).tags) == ("nova", ("vip", "nova"))


async def test_nothing_is_asked_for_a_row_whose_values_are_erased_or_of_which_nothing_is_left(make):
    world = renewing(make)
    await approved(world, "Ona", "Jonas", "Eva")
    world.set(Job, Job.customer_id == "Ona", encrypted=ERASED)
    with world.parts.database.write() as connection:
        connection.execute(sa.delete(Job).where(Job.customer_id == "Jonas"))
    world.set(Job, Job.customer_id == "Eva", encrypted=b"\x00" * 40)
    assert await renewed(world) == []
    found = {one["customer"]: one["why"] for one in standing(world)["not_asked"]}
    assert found == {"Ona": "details_gone", "Jonas": "details_gone", "Eva": "no_key"}


async def test_the_approval_of_a_person_who_had_the_id_before_is_nobody_elses(make):
    world = renewing(make)
    await approved(world, "Ona")
    with world.parts.database.write() as connection:
        admit(connection, ["Ona"], now=world.clock())
    world.add(customer("Ona"))
    assert [row.state for row in world.rows(Job)] == [JobState.COMPLETED, JobState.WAITING]
    await world.work()
    world.set(Job, Job.state == JobState.INVITED, state=JobState.LAPSED, due_at=None)
    world.set(SessionRow, SessionRow.state == "waiting", state="expired", check_at=None)
    assert await renewed(world) == []
    assert [one["why"] for one in standing(world)["not_asked"]] == ["another_person"]
