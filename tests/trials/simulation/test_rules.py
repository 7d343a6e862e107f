"""What the rules take for the moment of an event, and of a stop."""

import pytest

from trials.simulation.database import databases
from trials.simulation.faults import FreezeAfterCommit
from trials.simulation.plan import Person, Plan
from trials.simulation.play import History, play
from trials.simulation.records import Call, Kind, Life, Record
from trials.simulation.rules.calls import limits_are_kept, pauses_are_kept

ANSWERED_AT = 30.0


def test_an_event_counts_from_its_storing_even_if_its_process_stands_still_before_it_acknowledges_it():
    person = Person(0, "au", asked_at=3.0, event="erased", event_at=0.5)
    stands_still = FreezeAfterCommit(at=0.49, host=0, size=0.05)
    plan = Plan(0, (person,), hosts=2, rate=0, capped=False, faults=(stands_still,))

    with databases() as made:
        record = play(plan, made).record

    assert any(life.still for life in record.lives.values())
    assert record.first("erased", person.id) < record.first("requested", person.id)


@pytest.mark.parametrize(
    ("turn", "after", "breaks"), [(0.0, 1.9, False), (0.0, 2.1, True), (0.2, 2.1, False), (0.2, 5.5, True)]
)
def test_another_process_calls_a_stopped_account_only_as_long_as_its_turns_take(turn, after, breaks):
    refused = Call(Kind.SESSION, "kyb", "c000", 0, ANSWERED_AT - 1, answered_at=ANSWERED_AT, status=401)
    later = Call(Kind.SESSION, "kyb", "c001", 1, ANSWERED_AT + after)
    lives = {number: Life(number, number, 0.0) for number in (0, 1)}
    plan = Plan(0, (), hosts=2, rate=0, capped=False, turn=turn)

    complaints = list(pauses_are_kept(History(plan, Record(calls=[refused, later], lives=lives))))

    assert bool(complaints) is breaks


@pytest.mark.parametrize(
    ("times", "breaks"),
    [
        ([0, 0.1, *range(400, 3600, 400)], False),  # one of ten went ahead, and is paid back
        ([0, 0.1, *range(360, 3600, 360)], True),  # it is not
        ([*range(0, 3240, 360), 3240.1, 3240.2], True),  # it went ahead of an hour that was used up
        ([0, 0.1, 0.2], True),  # two went ahead
        ([*range(0, 7200, 360)], False),
    ],
)
def test_no_hour_has_more_calls_than_its_limit_whatever_went_ahead(times, breaks):
    calls = [Call(Kind.SESSION, "kyc", f"c{number:03}", number, float(at)) for number, at in enumerate(times)]
    plan = Plan(0, (), hosts=1, rate=0, capped=False, hourly=10)

    assert bool(list(limits_are_kept(History(plan, Record(calls=calls))))) is breaks
