"""Short runs of the trial of lists, and that it finds what two mends prevent. `make lists` plays more."""

import pytest

from trials.lists.__main__ import STEPS
from trials.lists.play import play
from trials.simulation.database import databases
from worker.store.issuing import gates as issuing_gates
from worker.store.operators import priority_moves


@pytest.fixture(scope="module")
def empty():
    with databases() as made:
        yield made


@pytest.mark.parametrize("seed", [1, 8])
def test_no_history_breaks_a_rule(empty, seed):
    assert play(seed, STEPS, empty).complaints == []


def test_a_seed_gives_the_same_history_each_time(empty):
    first, second = (play(2, 40, empty) for _ in range(2))

    assert first == second
    assert len(first.lines) > 20


def resumes_only_what_is_open(monkeypatch):
    monkeypatch.setattr(priority_moves, "_PAUSED_JOBS", priority_moves._JOBS)
    monkeypatch.setattr(priority_moves, "_PAUSED_MESSAGES", priority_moves._MESSAGES)


def invites_each_row_on_click(monkeypatch):
    gates_left = tuple(gate for gate in issuing_gates.ROW_GATES if gate is not issuing_gates.with_own_link)
    monkeypatch.setattr(issuing_gates, "ROW_GATES", gates_left)


@pytest.mark.parametrize(
    ("without_a_mend", "seed", "rule"),
    [
        (resumes_only_what_is_open, 1, "a_pause_reaches_each_row"),
        (invites_each_row_on_click, 117, "only_what_may_leave_leaves"),
    ],
)
def test_without_a_mend_a_history_breaks_a_rule(empty, monkeypatch, without_a_mend, seed, rule):
    without_a_mend(monkeypatch)

    complaints = play(seed, STEPS, empty).complaints

    assert [one.partition(":")[0] for one in complaints[:1]] == [rule]
