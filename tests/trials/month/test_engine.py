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
from tests.trials.month.model import DAY, ENDPOINTS, HOUR, MINUTE, Behaviour, Customer, Endpoint, Rules, population
from trials.month.compare import LATE, differences, margin, table
from trials.month.run import Lived, Month, Plan, play

CLOCKS = (-7, 2, 10)  # hours ahead of UTC: night, afternoon and night at the beginning


def lived(plan: Plan) -> Month:
    with TemporaryDirectory() as folder:
        return play(plan, Path(folder))


def test_every_behaviour_at_every_endpoint_has_the_models_result():
    kinds = len(ENDPOINTS) * len(Behaviour)
    # Few clocks, because each due time costs a step of the worker's month.
    people = [replace(one, ahead=CLOCKS[one.number // kinds % len(CLOCKS)]) for one in population(5 * kinds)]
    plan = Plan(tuple(people), Rules(), fallback=True, seed=11)
    month = lived(plan)
    assert margin(plan, month) > LATE
    assert month.complaints == []
    assert differences(plan, month) == []
    assert {one.ending for one in month.lived.values()} == {"completed", "lapsed", "failed"}
    assert month.reports > len(plan.customers)


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
    customers = tuple(Customer(number, ENDPOINTS[-1], behaviour) for number, behaviour in enumerate(Behaviour))
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
        st.sampled_from(Behaviour),
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
)
def test_for_all_rules_the_engine_gives_the_models_stories(people, drawn, fallback, seed):
    plan = Plan(tuple(people), drawn, days=20, seed=seed, fallback=fallback)
    empty = Month(START, START + 20 * DAY)
    assume(margin(plan, empty) > LATE)
    month = lived(plan)
    assert (month.complaints, differences(plan, month)) == ([], [])
