"""What a row was stays with it, whatever makes another session or message of it: each leaves in its brand, and each
request says to the provider what the row says. A row of another list keeps what is its own."""

from datetime import timedelta

import pytest

from onboarding_testing.fakes import FakeProvider
from onboarding_worker.core.database.encrypted_values import decrypt_line
from onboarding_worker.core.database.tables import Budget, Job
from onboarding_worker.core.model.channels import SuppressionReason
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.http_messages import HttpRequest
from onboarding_worker.core.model.sessions import SessionRequest
from onboarding_worker.core.model.states import JobState
from onboarding_worker.core.rows.cancellation import cancel_open
from onboarding_worker.core.rows.suppressions import suppress
from onboarding_worker.core.rules.reissue import SETTLES
from onboarding_worker.plans.store.leadership import take_all
from tests.simulated.events import updated
from tests.simulated.two_brands import ASKED, asked, brands, bring_in, two_brands
from tests.simulated.world import customer

WEEK = timedelta(days=7)
ONA = ASKED | {"clientId": "Ona"}
TEXTS = '[sms]\naccount = "AC1"\ntoken = { env = "SECRET" }\nfrom = "+15005550006"\n'


async def later(world, span) -> None:
    world.clock.advance(seconds=span.total_seconds())
    await world.work()


async def invited(world, *names, **values) -> int:
    batch = bring_in(world, *names, **values)
    await world.work()
    return batch


async def test_a_reminder_and_a_new_link_leave_in_the_rows_brand_and_ask_for_what_the_row_asks(make):
    world = two_brands(make, 'most = 2\nreminders = ["1 day"]')
    await invited(world, "Ona")
    await later(world, timedelta(days=1))
    assert (brands(world), asked(world)) == (["nova"] * 2, [ONA])
    await later(world, WEEK + SETTLES)
    await later(world, timedelta(days=1))
    assert (brands(world), asked(world)) == (["nova"] * 4, [ONA] * 2)


async def test_so_does_the_link_to_an_address_that_was_corrected(make):
    world = two_brands(make)
    await invited(world, "Ona")
    world.receiver().receive([updated("Ona", email="right@example.org", locale="de")])
    await later(world, WEEK + SETTLES)
    assert [(one.to, one.language) for one in world.senders["email"].messages][-1] == ("right@example.org", "de")
    assert (brands(world), asked(world)) == (["nova"] * 2, [ONA] * 2)


async def test_so_does_the_message_on_another_channel(make):
    world = two_brands(make, sender=TEXTS, templates='fallback = "sms"')
    bring_in(world, "Ona", phone="+37060000001")
    await world.issue()
    with world.parts.database.write() as connection:
        why, now = SuppressionReason.BOUNCE, world.clock()
        suppress(connection, world.parts.keyring, "email", "ona@example.org", why, source="test", now=now)
    await world.work()
    assert (brands(world), brands(world, "sms"), asked(world)) == ([], ["nova"], [ONA])


class Taking(FakeProvider):
    """An account that takes over, and what it was asked for with."""

    def __init__(self) -> None:
        super().__init__(safe_to_repeat=True)
        self.asked_for: list[SessionRequest] = []

    def build(self, request: SessionRequest) -> HttpRequest:
        self.asked_for.append(request)
        return super().build(request)


def taken_over(world) -> Taking:
    taking = Taking()
    world.parts.providers["au"] = taking
    world.set(Budget, Budget.name == "kyc", stopped_at=world.clock(), stop_reason="HTTP 401")
    return taking


BOTH = '[[routes]]\nwhen = { tags = "nova" }\nbrand = "nova"\naccounts = ["kyc", "au"]\n'
ENTITY = "00000000-0000-4000-8000-000000000000"


async def test_an_account_that_takes_over_gets_all_of_the_row_but_the_parameters_of_another_provider(make):
    world = two_brands(make, outcomes=(), routes=BOTH)
    bring_in(world, "Ona", entity_id=ENTITY)
    assert world.job("Ona").fallback_accounts == "au"
    taking = taken_over(world)
    await world.work()
    (request,) = taking.asked_for
    assert (request.customer.brand, request.customer.tags, request.entity_id) == ("nova", ("vip", "nova"), ENTITY)
    assert (request.external_ref, request.parameters, brands(world)) == ("X-1", {}, ["nova"])


async def test_a_row_that_is_kept_back_at_its_account_is_taken_over_by_no_other(make):
    world = two_brands(make, outcomes=(), routes=BOTH)
    bring_in(world, "Ona", entity_id=ENTITY)
    later = two_brands(make, outcomes=(), routes=BOTH, rights="lists = []")
    await later.work()
    assert later.job("Ona").reason == "right_missing"
    taking = taken_over(later)
    for _ in range(2):
        await later.work()
        later.clock.advance(hours=1)
    assert (later.job("Ona").account, taking.asked_for, brands(later)) == ("kyc", [], [])


@pytest.mark.parametrize("sent", [False, True])
async def test_a_row_that_leads_after_another_one_keeps_its_own_brand_and_parameters(make, sent):
    world = two_brands(make)
    first = bring_in(world, "Ona")
    if sent:
        await world.work()
    second = bring_in(world, "Ona", brand="", tags="", external_ref="X-2", **{"idenfy-kyc.checkAml": None})
    own = {"externalRef": "X-2", "clientId": "Ona"}
    assert world.row(Job, batch_id=second).reason == "joined_job"
    with world.parts.database.write() as connection:
        cancel_open(connection, [world.row(Job, batch_id=first).id], now=world.clock())
    await world.work()
    # It goes on with the session that the customer has, and gets one of its own after that.
    assert (brands(world), asked(world)) == ((["nova"], [ONA]) if sent else ([""], [own]))
    await later(world, WEEK + SETTLES)
    assert (brands(world)[1:], asked(world)[1:]) == ([""], [own])


async def test_a_row_that_takes_the_lead_while_the_first_list_rests_keeps_its_own(make):
    world = two_brands(make)
    world.add(customer("Ona"))
    world.set(Job, priority=110, due_at=world.clock() + WEEK)
    second = bring_in(world, "Ona")
    with world.parts.database.write() as connection:
        take_all(connection, second, stopped_only=False, now=world.clock())
    await world.work()
    assert (brands(world), asked(world)) == (["nova"], [ONA])
    job = world.row(Job, batch_id=second)
    assert job.state is JobState.INVITED
    assert decrypt_line(world.parts.keyring, second, job.row, job.encrypted).tags == ("vip", "nova")
    assert job.channel is Channel.EMAIL
