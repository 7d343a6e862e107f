"""Short runs of the trial of lists, and that it finds what a mend prevents. `make lists` plays more."""

import pytest

from trials.lists.__main__ import STEPS
from trials.lists.play import play
from trials.simulation.database import databases
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


@pytest.mark.parametrize(
    ("without_a_mend", "seed", "rule"),
    [(resumes_only_what_is_open, 18, "a_pause_reaches_each_row")],
)
def test_without_a_mend_a_history_breaks_a_rule(empty, monkeypatch, without_a_mend, seed, rule):
    without_a_mend(monkeypatch)

    complaints = play(seed, STEPS, empty).complaints

    assert [one.partition(":")[0] for one in complaints[:1]] == [rule]
