"""The whole worker runs a month with a few hundred customers, and with a few customers under random rules.

`make month` does the same with thousands. tests/trials/month/test_decisions.py compares the decisions with the model.
"""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from tests.simulated.virtual_time import START

# Imported under the trial's name: the enums of a second copy of the model would not be equal.
from tests.trials.month.model import (
    DAY,
    ENDPOINTS,
    HOUR,
    MINUTE,
    OF_EACH_LINK,
    OF_OUR_LINK,
    Behaviour,
    Customer,
    Endpoint,
    Rules,
    population,
)
from trials.month.compare import LATE, differences, margin, table
from trials.month.run import Lived, Month, Plan, play
from trials.simulation.mends import without
from worker.store.links.doors import Doors

CLOCKS = (-7, 2)  # hours ahead of UTC: night and afternoon at the beginning


def lived(plan: Plan) -> Month:
    with TemporaryDirectory() as folder:
        return play(plan, Path(folder))


def test_every_behaviour_at_every_endpoint_has_the_models_result():
    kinds = len(ENDPOINTS) * len(OF_EACH_LINK)
    # Few clocks, because each due time costs a step of the worker's month.
    people = [replace(one, ahead=CLOCKS[one.number // kinds % len(CLOCKS)]) for one in population(2 * kinds)]
    plan = Plan(tuple(people), Rules(), fallback=True, seed=11)
    month = lived(plan)
    assert margin(plan, month) > LATE
    assert month.complaints == []
    assert differences(plan, month) == []
    assert {one.ending for one in month.lived.values()} == {"completed", "lapsed", "failed"}
    assert month.reports > len(plan.customers)


@pytest.mark.parametrize("stable", ["ahead", "on-click"])
def test_with_our_own_links_sessions_follow_visits_as_in_the_model(stable):
    behaviours = OF_OUR_LINK + OF_EACH_LINK
    people = [replace(one, ahead=CLOCKS[0]) for one in population(60, behaviours)]
    plan = Plan(tuple(people), Rules(valid=9 * DAY), days=15.4, fallback=True, seed=12, stable=stable)
    month = lived(plan)
    assert margin(plan, month) > LATE
    assert (month.complaints, differences(plan, month)) == ([], [])
    assert {one.ending for one in month.lived.values()} == {"completed", "lapsed", "failed", "held", "open"}


OUR_LINKS = tuple(
    Customer(number, ENDPOINTS[2], behaviour, ahead=CLOCKS[0])
    for number, behaviour in enumerate([*OF_OUR_LINK, Behaviour.NEVER, Behaviour.NEVER])
)


# What each of these prevents, the month of customers with our own links must find.
@pytest.mark.parametrize(
    ("mend", "found"),
    [
        ("one-session-for-two-presses", "a call for customer 0 while a session was live"),
        ("not-me", 'was written to after saying "not me"'),
        ("time-before-a-press", "idenfy-kyb never, -7 h: "),
    ],
)
def test_a_fault_of_our_own_links_is_found(mend, found):
    plan = Plan(OUR_LINKS, Rules(), days=5.4, seed=2, stable="on-click")
    with without(mend):
        month = lived(plan)
    assert any(found in line for line in [*month.complaints, *differences(plan, month)])


def test_a_visit_that_buys_a_session_is_found(monkeypatch):
    plan = Plan(OUR_LINKS, Rules(), days=0.4, seed=2, stable="on-click")
    monkeypatch.setattr(Doors, "see", Doors.ask)
    assert "customer 3, idenfy-kyb never, -7 h: 1 sessions" in "".join(differences(plan, lived(plan)))


def test_a_count_or_a_time_that_differs_is_named_and_a_count_marked():
    plan = Plan((Customer(1, ENDPOINTS[0], Behaviour.NEVER),), Rules(), days=1)
    month = lived(plan)
    assert (month.complaints, differences(plan, month)) == ([], [])
    early = month.times[1].sessions[0] - 2 * HOUR
    month.times[1] = replace(month.times[1], sessions=(early,))
    (named,) = differences(plan, month)
    assert named.startswith("customer 1, idenfy-kyc never, +0 h: number 1 of its sessions, which the model has at")
    month.lived[1] = Lived(2, 1, 0, "open", "")
    (named,) = differences(plan, month)
    assert "customer 1, idenfy-kyc never" in named
    assert "2 sessions, 1 invitations" in named
    assert "2/1" in "".join(line for line in table(plan, month) if "differs" in line)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_either_database_lives_through_a_week(database, request, tmp_path):
    url = request.getfixturevalue("empty_postgresql_url") if database == "postgresql" else ""
    customers = tuple(Customer(number, ENDPOINTS[-1], behaviour) for number, behaviour in enumerate(OF_EACH_LINK))
    plan = Plan(customers, Rules(), days=6.4, database=url)
    month = play(plan, tmp_path)
    assert (month.complaints, differences(plan, month)) == ([], [])


@st.composite
def endpoints(draw: st.DrawFn) -> tuple[Endpoint, ...]:
    """The five endpoints with other lifetimes, and the default floors of routes."""
    hours = draw(st.lists(st.integers(2, 240), min_size=len(ENDPOINTS), max_size=len(ENDPOINTS)))
    made = []
    for endpoint, lives in zip(ENDPOINTS, hours, strict=True):
        lifetime = lives * HOUR + 17 * MINUTE
        vendors = endpoint.name.startswith("frankieone")
        floor = 10 * MINUTE if vendors else min(lifetime / 2, 12 * HOUR)
        made.append(replace(endpoint, lifetime=lifetime, floor=floor))
    return tuple(made)


def customers(of: tuple[Endpoint, ...]) -> st.SearchStrategy[list[Customer]]:
    one = st.builds(
        Customer,
        st.integers(1, 999_999),
        st.sampled_from(of),
        st.sampled_from(OF_EACH_LINK),
        ahead=st.integers(-11, 12),
        phone=st.booleans(),
    )
    return st.lists(one, min_size=3, max_size=12, unique_by=lambda customer: customer.number)


reminders = st.lists(st.integers(2, 150).map(lambda hours: hours * HOUR - 23 * MINUTE), max_size=3, unique=True)
rules = st.builds(
    Rules,
    reminders=reminders.map(lambda spans: tuple(sorted(spans))),
    reissues=st.integers(0, 3),
    messages=st.integers(2, 7),
    spacing=st.sampled_from([timedelta(0), DAY, 5 * DAY]),
    quiet=st.sampled_from([None, (21, 8), (1, 5), (8, 22)]),
)


@settings(max_examples=5, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck))
@given(
    endpoints().flatmap(customers),
    rules,
    st.booleans(),
    st.integers(0, 1000),
    st.sampled_from(["", "ahead", "on-click"]),
)
def test_for_all_rules_the_engine_gives_the_models_stories(people, drawn, fallback, seed, stable):
    plan = Plan(tuple(people), drawn, days=20, seed=seed, fallback=fallback, stable=stable)
    empty = Month(START, START + 20 * DAY)
    assume(margin(plan, empty) > LATE)
    month = lived(plan)
    assert (month.complaints, differences(plan, month)) == ([], [])
