"""The sweep seals the audit log, and reports a head that it must not sign."""

import logging

from worker.core.database.tables import Audit, AuditHead
from worker.core.model.audit import Point
from worker.features.audit.sealing import Sealing
from worker.features.audit.store.sealing import NotSigned

END = Point(7, "a" * 64)


class Scripted:
    """Seals that answer one after the other, or raise."""

    def __init__(self, *answers):
        self._answers = list(answers)

    def seal(self):
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_a_sweep_seals_what_was_added(make_on_both):
    world = make_on_both()
    batch = world.parts.batches.open(name="a.csv", digest="d", again=False, now=world.clock())[0]
    world.parts.decisions.pause(batch.id, by="ona", now=world.clock())

    world.look_after()

    assert [row.number for row in world.rows(Audit)] == [1, 2]
    assert world.row(AuditHead).number == 2


def test_the_head_goes_into_the_log_once_an_hour_and_not_at_each_sweep(caplog):
    caplog.set_level(logging.INFO)
    sealing = Sealing(Scripted(None, END, END))

    for _ in range(3):
        sealing.seal()

    assert [record.getMessage() for record in caplog.records] == [f"audit log: its head is {END}"]


def test_a_head_that_is_not_signed_is_an_error_in_the_log_and_ends_no_sweep(caplog):
    sealing = Sealing(Scripted(NotSigned("the audit log's head was removed"), NotSigned("again"), END))

    sealing.seal()

    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "run `onboard audit verify`" in record.getMessage()
