"""What needs a person, and how urgent it is."""

from dataclasses import replace
from datetime import UTC, datetime

from worker.domain.model.operation import (
    BEAT_IS_MISSING_AFTER,
    WAKE_UPS_MISSING_AFTER,
    FailingTarget,
    Level,
    Running,
    WaitingBatch,
    Wakening,
    attention,
    is_worked,
    is_worked_by_workers,
    level_of,
    starts_work,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LONG_AGO = NOW - 2 * BEAT_IS_MISSING_AFTER
UP = Running("up", "host", 7, "0.1.0", None, NOW, NOW)
WORKER, WEB = replace(UP, kind="worker"), replace(UP, kind="web")
ALONE = replace(UP, kind="run", batch_id=3)
QUIET = {
    "due": (),
    "wakening": Wakening(NOW),
    "stopped": {},
    "senders": ["email"],
    "batches": [],
    "missing_keys": {},
    "now": NOW,
}
DEAD = FailingTarget("subscriber/crm", NOW, "HTTP 500", "63", "1")
PAUSED = WaitingBatch(1, "a.csv", 245, "stopped with Ctrl-C by ann", "onboard resume 1")


def test_what_needs_a_person_has_a_level_and_a_command(subtests):
    cases = [
        ([], {}, Level.WELL, None),
        ([UP], {"due": ["kyc"]}, Level.WELL, None),
        ([], {"due": ["kyc"]}, Level.CRITICAL, "onboard up"),
        ([WEB], {"due": ["kyc"]}, Level.CRITICAL, "onboard up"),  # it only receives
        ([], {"due": ["kyc"], "starts": starts_work(by_workers=True)}, Level.CRITICAL, "onboard worker"),
        ([ALONE], {"due": ["kyc"]}, Level.WELL, None),
        ([UP], {"due": ["kyc"], "unwritable": "the disk is full"}, Level.CRITICAL, "onboard doctor"),
        ([], {"due": ["kyc"], "unwritable": "the disk is full"}, Level.CRITICAL, "onboard doctor"),
        ([WORKER], {}, Level.WELL, None),
        ([WORKER], {"wakening": Wakening(LONG_AGO)}, Level.NEEDS_A_PERSON, "onboard doctor"),
        ([WORKER], {"wakening": Wakening(LONG_AGO, NOW)}, Level.NEEDS_A_PERSON, "onboard beat"),
        ([WORKER], {"wakening": Wakening(None, NOW)}, Level.NEEDS_A_PERSON, "onboard beat"),
        ([WORKER], {"wakening": Wakening(None)}, Level.NEEDS_A_PERSON, "onboard doctor"),
        ([UP], {"wakening": Wakening(None)}, Level.WELL, None),  # it needs no scheduler
        ([UP], {"stopped": {"kyc, kyc-lt": "HTTP 401"}}, Level.NEEDS_A_PERSON, "onboard account resume kyc"),
        ([UP], {"stopped": {"email": "535"}}, Level.NEEDS_A_PERSON, "onboard account resume email"),
        ([UP], {"missing_keys": {"1a2b3c4d": 3}}, Level.NEEDS_A_PERSON, "onboard keys status"),
        ([UP], {"targets": [DEAD]}, Level.NEEDS_A_PERSON, "onboard outbox list"),
        ([UP], {"refused_events": {"requests": 2}}, Level.NEEDS_A_PERSON, "onboard bus dead list"),
        ([UP], {"batches": [PAUSED]}, Level.NEEDS_A_PERSON, "onboard resume 1"),
    ]
    for processes, state, level, command in cases:
        with subtests.test(processes=processes, state=state, level=level, command=command):
            found = attention(processes, **QUIET | state)
            assert level_of(found) is level
            assert [one.command for one in found] == ([command] if command else [])


def test_the_most_urgent_comes_first_and_decides_the_level():
    found = attention([], **QUIET | {"due": ["kyc"], "stopped": {"email": "535"}, "batches": [PAUSED]})
    assert [(one.what, one.level) for one in found] == [("process", 2), ("sender", 1), ("batch", 1)]
    assert level_of(found) is Level.CRITICAL


def test_a_run_of_one_batch_works_no_other_batch():
    assert is_worked([ALONE], 3)
    assert not is_worked([ALONE, WEB], 4)
    assert is_worked([ALONE, WORKER], 4)


def test_what_a_run_works_too_does_not_depend_on_wake_ups():
    assert is_worked_by_workers([WORKER, WEB], 3)
    assert is_worked_by_workers([ALONE, WORKER], 4)
    assert not is_worked_by_workers([ALONE, WORKER], 3)
    assert not is_worked_by_workers([WEB], 3)


def test_the_broker_works_where_wake_ups_came_after_the_scheduler_s(subtests):
    cases = [
        (Wakening(NOW), False),
        (Wakening(NOW, NOW), False),  # the scheduler's come
        (Wakening(LONG_AGO), True),
        (Wakening(LONG_AGO, NOW), False),
        (Wakening(None, NOW), False),
        (Wakening(None), True),
        (Wakening(LONG_AGO, LONG_AGO), True),  # both ended together
        (Wakening(None, NOW - 2 * WAKE_UPS_MISSING_AFTER), True),
    ]
    for wakening, none_come in cases:
        with subtests.test(wakening=wakening):
            assert wakening.none_come(NOW) is none_come
