"""The row that stops everything: who set it, what it leaves alone, and its entries in the audit log."""

import pytest

from onboarding_worker.core.database.audit_entries import Act
from onboarding_worker.core.database.tables import Audit, Batch
from onboarding_worker.lists.decisions.store.emergency_stop import EmergencyStops
from tests.stored.shelf import customer

pytestmark = pytest.mark.both_databases


@pytest.fixture
def emergency_stops(database) -> EmergencyStops:
    return EmergencyStops(database)


def noted(shelf) -> list[tuple[str, str, str]]:
    return [(row.actor, row.subject, row.reason) for row in shelf.rows(Audit) if row.subject == "everything"]


def test_the_first_stop_stays_with_its_reason_until_it_is_resumed(shelf, emergency_stops, clock):
    assert emergency_stops.find() is None
    first = emergency_stops.stop(by="ada", reason="the wrong template", now=clock())
    again = emergency_stops.stop(by="ben", reason="me too", now=clock())

    assert again == first == emergency_stops.find()
    assert first.in_words.endswith(": the wrong template")
    assert emergency_stops.go_on(now=clock()) == first
    assert (emergency_stops.find(), emergency_stops.go_on(now=clock())) == (None, None)
    assert [reason for _, _, reason in noted(shelf)] == ["the wrong template", "resumed"]


def test_another_door_than_a_command_is_named_in_the_audit_log(shelf, database, clock):
    EmergencyStops(database.acting(Act("ada", "dashboard stop"))).stop(by="ada", reason="", now=clock())
    EmergencyStops(database.acting(Act("ben", "dashboard resume"))).go_on(now=clock())

    assert [(row.actor, row.action) for row in shelf.rows(Audit)] == [
        ("ada", "dashboard stop"),
        ("ben", "dashboard resume"),
    ]


def test_nothing_is_claimed_while_everything_is_stopped_and_a_paused_batch_stays_paused(
    shelf, emergency_stops, decide, clock
):
    paused, going = shelf.add(customer("Ona")), shelf.add(customer("Vita"))
    decide.pause(paused, by="ada", now=clock())
    emergency_stops.stop(by="ada", reason="", now=clock())
    assert shelf.flush().opened == []

    emergency_stops.go_on(now=clock())
    assert [item.batch_id for item in shelf.flush().opened] == [going]
    assert {row.id: row.pause_cause for row in shelf.rows(Batch)} == {paused: "person", going: ""}


def test_results_of_calls_that_were_in_flight_are_written_while_everything_is_stopped(shelf, emergency_stops, clock):
    shelf.add(customer("Ona"), customer("Vita"))
    opened = shelf.flush(most=1).opened
    emergency_stops.stop(by="ada", reason="", now=clock())

    assert emergency_stops.in_flight(now=clock()) == {"kyc": 1}
    assert shelf.flush(*(shelf.got(item) for item in opened)).opened == []
    assert emergency_stops.in_flight(now=clock()) == {}
    assert shelf.job(opened[0].customer.customer_id).state == "issued"
