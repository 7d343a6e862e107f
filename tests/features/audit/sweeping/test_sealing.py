"""The sweep seals the audit log, and reports a head that it must not sign."""

import logging
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import Audit, AuditHead
from onboarding_worker.features.audit.sealing import Sealing
from onboarding_worker.features.audit.store.sealing import NotSigned, Point, Seals
from onboarding_worker.wiring.background import Ticks

END = Point(7, "a" * 64)
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Scripted:
    """Seals that answer one after the other, or raise."""

    def __init__(self, *answers):
        self.answers, self.refused_at = list(answers), []

    def refused(self, *, now):
        self.refused_at.append(now)

    def seal(self):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_a_sweep_seals_what_was_added(make):
    world = make()
    batch = world.parts.batches.open(name="a.csv", digest="d", again=False, now=world.clock())[0]
    world.parts.decisions.pause(batch.id, by="ona", now=world.clock())

    world.look_after()

    assert [row.number for row in world.rows(Audit)] == [1, 2]
    assert world.row(AuditHead).number == 2


@pytest.mark.both_databases
async def test_a_sweep_sees_the_head_that_a_command_sealed_and_an_older_one_needs_a_person_while_it_lasts(
    make, monkeypatch
):
    monkeypatch.setattr(Ticks, "begin", lambda _ticks, _now: True)
    world = make()
    parts = world.parts
    batch = parts.batches.open(name="a.csv", digest="d", again=False, now=world.clock())[0]
    world.look_after()
    older = world.row(AuditHead)
    parts.decisions.pause(batch.id, by="ona", now=world.clock())
    Seals(parts.database, parts.keyring).seal()
    newer = world.row(AuditHead)

    def put(head):
        world.look_after()
        with parts.database.write() as connection:
            connection.execute(sa.update(AuditHead).values(number=head.number, hash=head.hash, digest=head.digest))
        world.look_after()
        return [one.action for one in parts.operation.report().attention]

    assert put(older) == ["onboard audit verify"]
    assert put(newer) == ["onboard audit verify"]  # for a moment: another process may still refuse
    world.clock.advance(minutes=2)
    assert put(newer) == []


def test_the_head_is_looked_at_now_and_then_where_nothing_is_to_be_sealed():
    seals = Scripted(None, None)
    sealing = Sealing(seals, lambda: NOW)

    left = []
    for unsealed in (False, False, True):
        sealing.step(unsealed=unsealed)
        left.append(len(seals.answers))

    assert left == [1, 1, 0]


def test_the_head_goes_into_the_log_once_an_hour_and_not_at_each_sweep(caplog):
    caplog.set_level(logging.INFO)
    sealing = Sealing(Scripted(None, END, END), lambda: NOW)

    for _ in range(3):
        sealing.seal()

    assert [record.getMessage() for record in caplog.records] == [f"audit log: its head is {END}"]


def test_a_head_that_is_not_signed_is_an_error_in_the_log_and_ends_no_sweep(caplog):
    seals = Scripted(NotSigned("the audit log's head was removed"), END)
    sealing = Sealing(seals, lambda: NOW)

    sealing.seal()

    (record,) = caplog.records
    assert seals.refused_at == [NOW]
    assert record.levelname == "ERROR"
