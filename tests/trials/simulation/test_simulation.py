"""Short runs of the simulation, and that it finds what the engine's mends prevent.

Each run is a process of its own: a history is the same again only with a fixed PYTHONHASHSEED.
"""

import os
import subprocess
import sys

import pytest

from tests.deploy.compose_file import ROOT
from tests.suite.of_features import needs_all
from trials.simulation.faults import KINDS
from trials.simulation.plan import OFFICE, plan_of
from trials.simulation.shrink import shrink

# A history costs more than half a second of a core, most of it the engine's own statements. These few have each fault,
# each kind of setting and all that people do meanwhile. `make simulate SEEDS=5000` plays more.
HISTORIES = (3, 5, 40, 47, 56, 117, 462, 802, 868, 930, 1377, 1896)
SHORT = 2


def simulate(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trials.simulation", "--jobs", "1", *words]
    environ = os.environ | {"PYTHONHASHSEED": "0"}
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)


def test_no_history_breaks_a_rule():
    ended = simulate("--only", *map(str, HISTORIES))

    assert ended.stdout.endswith("no rule is broken\n"), ended.stdout + ended.stderr
    assert ended.returncode == 0


@needs_all
def test_the_histories_have_each_fault_and_all_that_people_do():
    plans = [plan_of(seed) for seed in HISTORIES]

    assert {type(fault) for plan in plans for fault in plan.faults} == {*KINDS.values()}
    assert {act.what for plan in plans for act in plan.acts} >= {*OFFICE}


def test_in_a_month_with_renewals_adopted_sessions_and_second_tries_nobody_is_asked_twice():
    ended = simulate("--month", "--from", "19", "--seeds", "1")

    assert ended.stdout.endswith("no rule is broken\n"), ended.stdout + ended.stderr


def test_no_history_on_postgresql_breaks_a_rule(postgresql_url):
    """On a server the simulation sets the clock of each connection: the histories of SQLite say nothing of that."""
    ended = simulate("--from", "8925", "--seeds", "1", "--postgresql", postgresql_url)

    assert ended.stdout.endswith("no rule is broken\n"), ended.stdout + ended.stderr
    assert ended.returncode == 0


def test_a_seed_gives_the_same_history_each_time():
    first, second = (simulate("--seed", str(SHORT)).stdout for _ in range(2))

    assert first == second
    assert len(first.splitlines()) > 20


@pytest.mark.parametrize("mends", [["--without", "pause"], pytest.param([], id="each", marks=pytest.mark.long)])
def test_without_a_mend_a_history_breaks_a_rule(mends):
    ended = simulate("--missed", *mends)

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_a_failing_plan_keeps_only_the_faults_and_the_people_that_it_needs():
    plan = next(plan for seed in range(100) if len((plan := plan_of(seed)).faults) >= 3)
    needed = plan.faults[1], plan.people[2]

    smaller = shrink(plan, lambda tried: needed[0] in tried.faults and needed[1] in tried.people)

    assert (smaller.faults, smaller.people) == ((needed[0],), (needed[1],))
