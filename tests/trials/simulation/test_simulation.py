"""Short runs of the simulation, and that it finds what the engine's mends prevent.

They run in a process of their own, one after the other: a history is the same again only with a fixed PYTHONHASHSEED,
and to load the engine takes longer than most histories.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache

import pytest

from tests.deploy.compose_file import ROOT
from tests.suite.of_features import needs_all
from trials.simulation.faults import KINDS
from trials.simulation.plan import OFFICE, plan_of
from trials.simulation.shrink import shrink

# A history costs more than half a second of a core, most of it the engine's own statements. These few have each fault,
# all that people do meanwhile and, with the month, each kind of setting. `make simulate SEEDS=5000` plays more.
HISTORIES = (3, 40, 47, 56, 117, 462, 802, 868, 930, 1377, 1896, 3037, 10426)
SHORT, ON_CLICK = 2, 40
# Plays what each line of the input asks for, as the command would, and answers with its exit code and its output.
PLAYS = """
import contextlib, io, json, sys
from trials.simulation.__main__ import main
for line in sys.stdin:
    sys.argv[1:] = json.loads(line)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = main()
    print(json.dumps([code, said.getvalue()]), flush=True)
"""
Simulate = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def simulate() -> Iterator[Simulate]:
    environ = os.environ | {"PYTHONHASHSEED": "0"}
    command, pipe = [sys.executable, "-c", PLAYS], subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdin=pipe, stdout=pipe, text=True) as process:
        asked, answered = process.stdin, process.stdout
        assert asked is not None
        assert answered is not None

        @cache
        def ask(*words: str) -> tuple[int, str]:
            print(json.dumps(["--jobs", "1", *words]), file=asked, flush=True)
            code, said = json.loads(answered.readline())
            return int(code), str(said)

        # What a process loads at its first history draws from that history's chance: this is the first in each.
        ask("--seed", str(SHORT))
        yield ask


def test_no_history_breaks_a_rule(simulate: Simulate):
    code, said = simulate("--only", *map(str, HISTORIES))

    assert said.endswith("no rule is broken\n"), said
    assert code == 0


@needs_all
def test_a_visitor_reads_our_page_presses_its_button_and_is_led_to_a_session(simulate: Simulate):
    """With the simulation's own pages: of the real ones it could read no form."""
    _, said = simulate("--seed", str(ON_CLICK))

    assert "  presses " in said
    assert "  is led to " in said


@needs_all
def test_the_histories_have_each_fault_and_all_that_people_do():
    plans = [plan_of(seed) for seed in HISTORIES]

    assert {type(fault) for plan in plans for fault in plan.faults} == {*KINDS.values()}
    assert {act.what for plan in plans for act in plan.acts} >= {*OFFICE}


def test_in_a_month_with_renewals_adopted_sessions_and_second_tries_nobody_is_asked_twice(simulate: Simulate):
    _, said = simulate("--month", "--from", "19", "--seeds", "1")

    assert said.endswith("no rule is broken\n"), said


def test_no_history_on_postgresql_breaks_a_rule(simulate: Simulate, postgresql_url: str):
    """On a server the simulation sets the clock of each connection: the histories of SQLite say nothing of that."""
    code, said = simulate("--only", str(SHORT), "--postgresql", postgresql_url)

    assert said.endswith("no rule is broken\n"), said
    assert code == 0


def test_a_seed_gives_the_same_history_each_time(simulate: Simulate):
    """In each process: what fails in one can be looked at in another."""
    _, first = simulate("--seed", str(SHORT))
    command = [sys.executable, "-m", "trials.simulation", "--seed", str(SHORT)]
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert first == second
    assert len(first.splitlines()) > 20


@pytest.mark.parametrize("mends", [["--without", "pause"], pytest.param([], id="each", marks=pytest.mark.long)])
def test_without_a_mend_a_history_breaks_a_rule(simulate: Simulate, mends: list[str]):
    code, said = simulate("--missed", *mends)

    assert code == 0, said


def test_a_failing_plan_keeps_only_the_faults_and_the_people_that_it_needs():
    plan = next(plan for seed in range(100) if len((plan := plan_of(seed)).faults) >= 3)
    needed = plan.faults[1], plan.people[2]

    smaller = shrink(plan, lambda tried: needed[0] in tried.faults and needed[1] in tried.people)

    assert (smaller.faults, smaller.people) == ((needed[0],), (needed[1],))
