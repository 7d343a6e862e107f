"""What needs a person, and how urgent it is; which processes work, and whether wake-ups reach them."""

from datetime import UTC, datetime

from onboarding_worker.core.foundation.features import hint
from onboarding_worker.reporting.store.processes import (
    BEAT_IS_MISSING_AFTER,
    SWEEP_IS_MISSING_AFTER,
    WAKE_UPS_MISSING_AFTER,
    Running,
    Wakening,
    kinds_at_work,
)
from onboarding_worker.reporting.waits import (
    UNMOVED_FOR,
    Level,
    Wait,
    level_of,
    of_bus,
    of_missing_key,
    of_refused_events,
    of_scheduler,
    of_stop,
    of_work,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LONG_AGO = NOW - 2 * BEAT_IS_MISSING_AFTER
UP = Running("up", "host", 7, "0.1.0", None, NOW, NOW)
WORKER, WEB, BUS = (UP._replace(kind=kind) for kind in ("worker", "web", "bus"))
ALONE = UP._replace(kind="run", batch_id=3)
STATUS = "onboard status"
DOCTOR = hint("doctor", "onboard doctor") or STATUS
UP_COMMAND, WORKER_COMMAND = "onboard up", "onboard worker"


def test_due_work_that_no_process_can_do_is_critical(subtests):
    cases = [  # running, due, unwritable, starts, command
        ([], (), "", UP_COMMAND, None),
        ([UP], ["kyc"], "", UP_COMMAND, None),
        ([ALONE], ["kyc"], "", UP_COMMAND, None),
        ([], ["kyc"], "", UP_COMMAND, "onboard up"),
        ([WEB], ["kyc"], "", UP_COMMAND, "onboard up"),  # it only receives
        ([], ["kyc"], "", WORKER_COMMAND, "onboard worker"),
        ([UP], ["kyc"], "the disk is full", UP_COMMAND, DOCTOR),
        ([], ["kyc"], "the disk is full", UP_COMMAND, DOCTOR),
    ]
    for running, due, unwritable, starts, command in cases:
        with subtests.test(running=running, due=due, unwritable=unwritable, command=command):
            found = of_work(running, due, unwritable=unwritable, starts=starts, now=NOW)
            assert [(one.action, level_of([one])) for one in found] == ([(command, Level.CRITICAL)] if command else [])


def test_due_work_for_which_no_call_begins_is_critical_though_processes_run():
    given = {"unwritable": "", "starts": UP_COMMAND, "now": NOW}
    for_long, a_moment = NOW - 2 * UNMOVED_FOR, NOW - UNMOVED_FOR / 2
    (found,) = of_work([UP], ["kyc"], unmoved=for_long, **given)
    assert (found.what, found.action, found.since, found.is_critical) == ("calls", DOCTOR, for_long, True)
    assert of_work([UP], ["kyc"], unmoved=a_moment, **given) == of_work([UP], [], unmoved=for_long, **given) == []


def test_workers_need_the_scheduler(subtests):
    cases = [
        ([WORKER], Wakening(NOW), None),
        ([WORKER], Wakening(LONG_AGO), DOCTOR),
        ([WORKER], Wakening(LONG_AGO, NOW), "onboard beat"),
        ([WORKER], Wakening(None, NOW), "onboard beat"),
        ([WORKER], Wakening(None), DOCTOR),
        ([UP], Wakening(None), None),  # it needs no scheduler
        ([], Wakening(None), None),
    ]
    for running, wakening, command in cases:
        with subtests.test(running=running, wakening=wakening):
            found = of_scheduler(running, wakening, now=NOW)
            assert [(one.action, level_of([one])) for one in found] == (
                [(command, Level.NEEDS_A_PERSON)] if command else []
            )


def test_events_that_no_process_takes_need_a_person(subtests):
    cases = [
        ([BUS, WORKER], ["requests"], "", None),
        ([UP], ["requests"], "", None),  # it is a bus process too
        ([WORKER, WEB], [], "", None),  # no sender publishes to a queue
        ([WORKER, WEB], ["requests"], "", "onboard bus"),
        ([], ["requests"], "", "onboard bus"),
        ([], ["requests"], "the server is read-only", None),  # a bus process that runs cannot say it
    ]
    for running, queues, unwritable, command in cases:
        with subtests.test(running=running, queues=queues, unwritable=unwritable):
            found = of_bus(running, queues, unwritable=unwritable)
            assert [(one.action, level_of([one])) for one in found] == (
                [(command, Level.NEEDS_A_PERSON)] if command else []
            )


def test_what_needs_a_person_has_a_command():
    assert of_stop("account", "kyc, kyc-lt", "HTTP 401").action == "onboard account resume kyc"
    assert of_stop("sender", "email", "535").action == "onboard account resume email"
    assert of_stop("account", "kyc", "the cap of 5 credits is reached").action == "onboard account list"
    assert of_missing_key("1a2b3c4d", 3, NOW).action == (hint("keys", "onboard keys status") or STATUS)
    assert of_refused_events("requests", 2, NOW).action == "onboard events dead list"


def test_the_most_urgent_decides_the_level():
    dead, stopped = of_work([], ["kyc"], unwritable="", starts=UP_COMMAND, now=NOW), of_stop("sender", "email", "535")
    assert level_of([]) is Level.WELL
    assert level_of([stopped]) is Level.NEEDS_A_PERSON
    assert level_of([stopped, *dead, Wait("batch", "1 (a.csv)", "paused", "onboard resume 1")]) is Level.CRITICAL


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
