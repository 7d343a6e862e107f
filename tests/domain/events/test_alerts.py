"""When people are alerted: once when something begins, once when it is over, and in one message."""

from datetime import timedelta

import pytest

from tests.conftest import NOON
from worker.domain.events.alerts import (
    LASTS,
    AlertKind,
    Condition,
    Decision,
    Remembered,
    as_data,
    decide,
    lines,
    only,
    subject,
)

STOPPED = Condition(AlertKind.ACCOUNT, "kyc")
HELD = Condition(AlertKind.HELD, "12", 1_200)
NOBODY = Condition(AlertKind.NOBODY)
LONG_AGO = NOON - timedelta(hours=1)


def at_noon(now_so, known=(), *, may_tell: bool = True) -> Decision:
    return decide(now_so, known, may_tell=may_tell, now=NOON)


def test_what_begins_is_told_at_once():
    assert at_noon([STOPPED]) == Decision(seen=[STOPPED], fired=[STOPPED])


def test_what_people_know_is_not_told_again():
    assert at_noon([STOPPED], [Remembered(STOPPED, LONG_AGO, LONG_AGO)]) == Decision()


def test_what_is_over_is_told_once():
    assert at_noon([], [Remembered(STOPPED, LONG_AGO, LONG_AGO)]) == Decision(over=[STOPPED])
    assert at_noon([]) == Decision()


@pytest.mark.parametrize("kind", LASTS)
def test_what_may_be_a_restart_must_last_for_a_while(kind: AlertKind):
    one = Condition(kind, "1")
    assert at_noon([one]) == Decision(seen=[one])
    assert not at_noon([one], [Remembered(one, NOON - LASTS[kind] + timedelta(seconds=1), None)]).tells
    assert at_noon([one], [Remembered(one, NOON - LASTS[kind], None)]).fired == [one]


def test_what_has_ended_before_people_were_told_is_forgotten():
    assert at_noon([], [Remembered(NOBODY, LONG_AGO, None)]) == Decision(forgotten=[NOBODY])


def test_a_storm_waits_for_the_next_message_and_is_one():
    known = [Remembered(STOPPED, LONG_AGO, LONG_AGO)]
    waits = at_noon([HELD, NOBODY], known, may_tell=False)
    assert waits == Decision(seen=[HELD, NOBODY])
    seen = [Remembered(one, LONG_AGO, None) for one in waits.seen]
    told = at_noon([HELD, NOBODY], [*known, *seen])
    assert told == Decision(fired=[NOBODY, HELD], over=[STOPPED])  # the most urgent first


def test_the_words_name_the_command_and_count_the_rows():
    data = as_data([HELD], [STOPPED], now=NOON)
    assert lines(data) == [
        "Batch 12: 1,200 rows are held and wait for a decision. onboard report 12",
        "Over: The account kyc works again.",
    ]
    assert subject(data) == "Onboarding: Batch 12: 1,200 rows are held and wait for a decision (and 1 more)"
    assert lines(as_data([HELD._replace(rows=1)], [], now=NOON))[0].startswith("Batch 12: 1 row is held and")


def test_each_kind_has_words(subtests):
    for kind in AlertKind:
        with subtests.test(kind=kind):
            data = as_data([Condition(kind, "7", 2)], [Condition(kind, "7")], now=NOON)
            assert data["raised"][0]["command"].startswith("onboard ")
            assert "{" not in str(lines(data))


def test_a_target_gets_only_the_kinds_that_it_wants():
    data = as_data([HELD, STOPPED], [], now=NOON)
    kept = only(data, {"account_stopped"})
    assert kept is not None
    assert [one["kind"] for one in kept["raised"]] == ["account_stopped"]
    assert only(data, {"batch_done"}) is None


def test_of_a_missing_scheduler_both_causes_are_named_and_the_command_that_tells_them_apart():
    (fact,) = as_data([Condition(AlertKind.BEAT)], [], now=NOON)["raised"]
    assert "the broker cannot be reached" in fact["text"]
    assert fact["command"] == "onboard doctor"
    assert subject({"raised": [fact], "over": []}).endswith("the broker cannot be reached")  # whole
