"""Whatever a person does about a customer, by the desk or in a report: messages leave in the brand of the row, and a
new session is asked for with what the row says to the provider."""

from datetime import timedelta

import pytest

from onboarding_worker.core.rules.reissue import SETTLES
from onboarding_worker.features.service_desk.corrections import Correction
from onboarding_worker.features.service_desk.opened import desk_of
from onboarding_worker.features.service_desk.returned_lists import settling
from onboarding_worker.lists.importing.judging import options_of
from onboarding_worker.lists.lines import AcceptedLine, Returned
from onboarding_worker.lists.returned import ReturnedReport
from tests.simulated.two_brands import ASKED, asked, brands, bring_in, two_brands

NEW = Correction({"email": "right@example.org"})


def resend(world):
    return desk_of(world.parts).resend("Ona", same_link=True, now=world.clock())


def new_link(world):
    world.clock.advance(days=8)
    return desk_of(world.parts).new_link("Ona", now=world.clock())


def correct(world):
    return desk_of(world.parts).correct("Ona", NEW, by_hand=True, now=world.clock())


def report(world):
    return desk_of(world.parts).correct("Ona", NEW, reason="row 2", now=world.clock())


@pytest.mark.parametrize(("act", "waits", "calls"), [(resend, 0, 1), (new_link, 0, 2), (correct, 7, 2), (report, 7, 2)])
async def test_the_message_and_the_session_are_the_rows(make, act, waits, calls):
    world = two_brands(make)
    bring_in(world, "Ona")
    await world.work()
    world.clock.advance(hours=2)
    act(world)
    await world.work()
    if waits:  # the provider opens no other one before the end of the first
        world.clock.advance(seconds=(timedelta(days=waits) + SETTLES).total_seconds())
        await world.work()
    assert asked(world) == [ASKED | {"clientId": "Ona"}] * calls
    assert brands(world) == ["nova"] * 2


async def test_a_new_link_waits_for_the_right_that_was_taken_back(make):
    world = two_brands(make)
    bring_in(world, "Ona")
    await world.work()
    later = two_brands(make, rights="lists = []")
    new_link(later)
    await later.work()
    assert (later.job("Ona").reason, asked(later), brands(later)) == ("right_missing", [], [])


async def test_a_row_that_is_filled_in_has_the_brand_and_the_account_that_its_folder_gives_rows_that_name_none(make):
    world = two_brands(make)
    folder = {"account": "kyc", "brand": "nova"}
    options = options_of(world.parts.intake, defaults=folder)
    of_report = ReturnedReport(
        name="todo.csv", options=options, database=world.parts.database, origin="folders.partner"
    )
    filled_in = Returned(2, "Ona", {"customer_id": "Ona", "email": "o@example.org", "country": "LT"}, "rejected")
    (line,) = settling(world.parts, of_report).settle([filled_in])
    assert isinstance(line, AcceptedLine)
    assert (line.account, line.route, line.customer.brand, line.sets) == ("kyc", "default account", "nova", ())
