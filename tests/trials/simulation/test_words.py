"""Each rule of the witness finds a word that is untrue, and passes one that is so."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from onboarding_worker.reporting.store.spending import Figures
from onboarding_worker.reporting.waits import Wait
from trials.simulation.plan import Person, Plan
from trials.simulation.play import History
from trials.simulation.records import Call, Happened, Kind, Life, Record
from trials.simulation.rules import SAID
from trials.simulation.witness import SLACK, Each, Forecast, Look, Next, Shown
from trials.simulation.world import World

WHO, TOKEN, REFERENCE = "c000", "t" * 40, "r-1"
ROW = ("row", 1, 1, "waiting", "", None, None, 0)
SESSION = Call(Kind.SESSION, "kyb", WHO, 0, 1.0, 1.1, 1.2, status=201, processed=True, token=TOKEN, expires_at=1800.0)
MAIL = Call(Kind.MAIL, "email", WHO, 0, 2.0, 2.1, 2.2, status=250, processed=True, token=TOKEN, key="k", to="a@x")
LATER = replace(MAIL, sent_at=400.0, arrived_at=400.1, answered_at=400.2, key="k2", to="new@x")
OPENED, LEFT = "kyb opened a session. Its link works until 12:30.", "The email with the link left."


def a_look(at: float = 100.0, *, state: str = "waiting", said: bool = True, **what: Any) -> Look:
    return Look(at, "", {WHO: frozenset({(*ROW[:3], state, *ROW[4:])})}, said, **what)


def a_page(*texts: str, credits: int = 1, state: str = "waiting", ends: float = 1800.0) -> dict[str, Any]:
    session = {"state": state, "reference": REFERENCE, "expires_at": World.at(ends)}
    facts = {"credits": {"kyb": credits}, "lost_calls": {}, "sessions": [session]}
    facts |= {"timeline": [(World.at(1), text) for text in texts], "came": {}}
    return {"customers": {WHO: facts}}


def seen(
    *looks: Look, calls: Sequence[Call] = (SESSION, MAIL), forecasts: Sequence[Forecast] = (), **happened: str
) -> History:
    """`happened`: what, by second, as `at_50`; after a bar its detail."""
    lines = [(int(at[3:]), *what.partition("|")[::2]) for at, what in happened.items()]
    record = Record([*calls], {0: Life(0, 0, 0.0)}, [Happened(at, what, WHO, detail) for at, what, detail in lines])
    record.looks, record.forecasts = [*looks], [*forecasts]
    plan = Plan(0, (Person(0, "kyb"),), hosts=1, rate=0, capped=False)
    return History(plan, record, references={TOKEN: REFERENCE}, ended_at=1700.0)


def a_forecast(messages: int = 1, sessions: int = 1, at: float = 3.0, **found: int) -> Forecast:
    facts = {
        "rows": {"rejected": 0},
        "changed_addresses": 0,
        "returned": False,
        "now": {"kyb": 1},
        "credits": {"kyb": sessions},
        "first_messages": {"email": messages, "sms": 0},
        "messages": {"email": messages, "sms": 0},
        "forecast": {"finishes_at": World.at(4).isoformat(), "limited_by": "kyb"},
    }
    return Forecast(at, facts, found, frozenset({WHO}), {WHO: Each(["kyb"], ["email"] * messages)})


def until(at: float, action: str = "") -> list[Next]:
    return [Next(WHO, World.at(at), action, "it waits")]


RESUME = "`onboard resume 1`"
NEED = [Wait("batch", "1", "it is paused", "onboard resume 1")]
OUT = {1: {"forecast": {"finishes_at": World.at(200).isoformat(), "limited_by": "kyb"}}}
SPENT = {1: Figures(Counter(kyb=1), Counter(email=1))}
LINE = [Shown(1, 2, WHO, {"state": "invited", "action": ""}, None)]
AFTER = a_look(200 + SLACK, said=False)
# By rule: a history in which what is said is so, and one in which it is not.
TRIED: dict[str, tuple[History, History]] = {
    "what_waits_for_a_time_moves_by_then": (
        seen(a_look(next=until(200)), a_look(200 + SLACK, state="issued", said=False)),
        seen(a_look(next=until(200)), AFTER),
    ),
    "a_list_is_out_by_its_forecast": (
        seen(a_look(batches=OUT), a_look(200 + SLACK, state="invited", said=False)),
        seen(a_look(batches=OUT), AFTER),
    ),
    "what_waits_for_a_person_waits": (
        seen(a_look(next=until(100, RESUME)), calls=[SESSION, MAIL, LATER], at_300="resumed"),
        seen(a_look(next=until(100, RESUME)), calls=[SESSION, MAIL, LATER]),
    ),
    "what_a_person_has_done_is_not_asked_for_again": (
        seen(a_look(60, needs=NEED), a_look(50 + SLACK), at_50="a person does|onboard resume 1"),
        seen(a_look(50 + SLACK, needs=NEED), at_50="a person does|onboard resume 1"),
    ),
    "what_one_page_asks_of_a_person_the_whole_does": (
        seen(a_look(next=until(100, RESUME), needs=NEED)),
        seen(a_look(next=until(100, RESUME))),
    ),
    "each_link_opens_as_long_as_it_is_said_to": (
        seen(a_look(of_features=a_page(OPENED))),
        seen(a_look(of_features=a_page(OPENED, ends=1900))),
    ),
    "each_customer_has_what_was_counted": (
        seen(a_look(of_features=a_page(OPENED, LEFT))),
        seen(a_look(of_features=a_page(OPENED, LEFT, credits=2))),
    ),
    "each_list_has_what_was_counted": (seen(a_look(spent=SPENT)), seen(a_look(spent={}))),
    "who_is_said_to_be_invited_has_a_message": (
        seen(a_look(headlines={1: "1 of 1 row is invited."}, lines=LINE)),
        seen(a_look(headlines={1: "1 of 2 rows are invited."}, lines=LINE)),
    ),
    "who_is_said_to_be_cancelled_was": (
        seen(a_look(of_features=a_page("Cancelled: the batch or the job was cancelled.")), at_50="cancelled"),
        seen(a_look(of_features=a_page("Cancelled: the batch or the job was cancelled."))),
    ),
    "a_proof_names_who_was_there": (seen(at_50="proof|1 1"), seen(at_50="proof|1 0")),
    "each_list_becomes_what_was_forecast": (
        seen(forecasts=[a_forecast(rejected=0, changed=0, asking=1)]),
        seen(forecasts=[a_forecast(rejected=1, changed=0, asking=1)]),
    ),
    "each_list_brings_what_was_forecast": (
        seen(forecasts=[a_forecast(at=0.0)]),
        seen(forecasts=[a_forecast(at=0.0, messages=0)]),
    ),
    "no_list_costs_more_than_was_forecast": (seen(forecasts=[a_forecast()]), seen(forecasts=[a_forecast(messages=0)])),
    "a_new_address_gets_what_was_forecast": (
        seen(calls=[SESSION, MAIL, LATER], forecasts=[a_forecast()], at_3="has another address|new@x"),
        seen(calls=[SESSION, MAIL, LATER], forecasts=[a_forecast(messages=0)], at_3="has another address|new@x"),
    ),
}


def test_each_rule_is_tried():
    assert TRIED.keys() == {rule.__name__ for rule in SAID}


@pytest.mark.parametrize("rule", SAID, ids=lambda rule: rule.__name__)
def test_a_rule_finds_what_is_said_and_is_not_so(rule):
    so, untrue = TRIED[rule.__name__]

    assert list(rule(so)) == []
    assert list(rule(untrue)) != []
