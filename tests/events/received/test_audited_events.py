"""Events in the audit log: one entry for each that changes something, with its sender, and nothing of the person."""

from dataclasses import replace

from onboarding_worker.core.database.tables import Audit
from tests.simulated.events import cancelled, requested, updated


def noted(world):
    return [(row.actor, row.action, row.subject) for row in world.rows(Audit)]


async def test_each_event_that_is_taken_has_an_entry_with_its_sender(inlet):
    world, receiver = inlet()

    receiver.receive([replace(requested("C-1"), actor="sender/crm"), replace(requested("C-2"), actor="queue q")])
    receiver.receive([replace(cancelled("C-1"), actor="queue q")])

    assert noted(world) == [
        ("sender/crm", "onboarding.requested", "customer C-1"),
        ("queue q", "onboarding.requested", "customer C-2"),
        ("queue q", "onboarding.cancelled", "customer C-1"),
    ]


async def test_what_changes_nothing_has_no_entry(inlet):
    world, receiver = inlet()
    newer, older = requested("C-1", 10), updated("C-1", 5, first_name="Ona")
    receiver.receive([newer])

    receiver.receive([newer, older, requested("ona@example.org")])

    assert len(noted(world)) == 1


async def test_an_entry_names_the_event_and_holds_nothing_of_the_person(inlet):
    world, receiver = inlet()
    (receipt,) = receiver.receive([requested("C-1", first_name="Ona", phone="+37060000001")]).receipts

    (entry,) = world.rows(Audit)

    assert entry.reason == f"event {receipt.id}"
    assert not any(word in str(entry).lower() for word in ("ona", "@", "37060"))
