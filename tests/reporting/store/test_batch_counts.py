"""The changes of the batches' counts are added up, once each, and a status says the same before and after."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import BatchCountChange, Job
from onboarding_worker.reporting.store import counting
from tests.stored.recount import expect_true_counts
from tests.stored.shelf import Shelf, customer


def changes(shelf: Shelf) -> int:
    return len(shelf.rows(BatchCountChange))


def looks(shelf: Shelf) -> set[str]:
    return set(shelf.looks.look(accounts=["kyc"], channels=["email"], now=shelf.clock()).steps)


def test_adding_up_leaves_no_change_and_the_same_numbers(shelf):
    batch = shelf.add(customer("Ona"), customer("Jonas"))
    shelf.issue()
    before = shelf.facts.counts(batch)
    assert changes(shelf)
    assert counting.add_up(shelf.database) > 0
    assert changes(shelf) == 0
    assert shelf.facts.counts(batch) == before


def test_changes_after_it_count_from_there_on(shelf):
    batch = shelf.add(customer("Ona"))
    counting.add_up(shelf.database)
    shelf.issue()
    shelf.send()
    counting.add_up(shelf.database)
    counts = shelf.facts.counts(batch)
    assert (counts.out, counts.sessions, counts.accounts["kyc"].issued) == (1, 1, 1)
    expect_true_counts(shelf.database)


@pytest.mark.both_databases
def test_two_sweeps_at_once_add_each_change_up_once(shelf):
    batch = shelf.add(*(customer(f"C{number}") for number in range(30)))
    for row in shelf.rows(Job):
        shelf.set(Job, Job.id == row.id, result="approved")
    before = shelf.facts.counts(batch)
    with ThreadPoolExecutor(4) as threads:
        taken = [threads.submit(counting.add_up, shelf.database) for _ in range(4)]
    assert sum(one.result() for one in taken) > 0
    assert changes(shelf) == 0
    assert shelf.facts.counts(batch) == before


def test_the_sweep_adds_up_only_when_there_are_many(shelf):
    shelf.add(customer("Ona"))
    assert "counts" not in looks(shelf)
    with shelf.database.write() as connection:
        row = {name: "" for name in ("kind", "state", "channel", "account", "result", "reason")}
        many = [{**row, "batch_id": 0, "rows": 0, "sessions": 0}] * (counting.LEFT + 1)
        connection.execute(sa.insert(BatchCountChange), many)
    assert "counts" in looks(shelf)
    counting.add_up(shelf.database)
    assert "counts" not in looks(shelf)
