"""Which processes work, and whether wake-ups reach them."""

from datetime import UTC, datetime

from worker.reporting.store.processes import (
    BEAT_IS_MISSING_AFTER,
    SWEEP_IS_MISSING_AFTER,
    WAKE_UPS_MISSING_AFTER,
    Running,
    Wakening,
    kinds_at_work,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LONG_AGO = NOW - 2 * BEAT_IS_MISSING_AFTER
UP = Running("up", "host", 7, "0.1.0", None, NOW, NOW)
WORKER, WEB = UP._replace(kind="worker"), UP._replace(kind="web")
ALONE = UP._replace(kind="run", batch_id=3)


def test_a_run_of_one_batch_works_no_other_batch():
    assert kinds_at_work([ALONE], 3)
    assert not kinds_at_work([ALONE, WEB], 4)
    assert kinds_at_work([ALONE, WORKER], 4)


def test_what_a_run_works_too_does_not_depend_on_wake_ups():
    assert kinds_at_work([WORKER, WEB], 3) == {"worker"}
    assert kinds_at_work([ALONE, WORKER], 4) == {"worker"}
    assert kinds_at_work([ALONE, WORKER], 3) != {"worker"}
    assert kinds_at_work([WEB], 3) != {"worker"}


def test_no_worker_looks_for_work_without_wake_ups_after_the_scheduler_s_or_a_sweep_of_its_own(subtests):
    cases = [
        (Wakening(NOW), False),
        (Wakening(NOW, NOW), False),  # the scheduler's come
        (Wakening(LONG_AGO), True),
        (Wakening(LONG_AGO, NOW), False),
        (Wakening(None, NOW), False),
        (Wakening(None), True),
        (Wakening(LONG_AGO, LONG_AGO), True),  # both ended together
        (Wakening(None, NOW - 2 * WAKE_UPS_MISSING_AFTER), True),
        (Wakening(LONG_AGO, swept_at=NOW), False),
        (Wakening(None, swept_at=NOW - 2 * SWEEP_IS_MISSING_AFTER), True),
    ]
    for wakening, none_look in cases:
        with subtests.test(wakening=wakening):
            assert wakening.none_look(NOW) is none_look
