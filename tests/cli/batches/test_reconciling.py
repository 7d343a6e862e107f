"""Lost answers from outside: the list is run, the time of the look-ups comes, and the sandbox says what was opened."""

import io
import sys

import pytest

from onboarding_sandbox.faults import Fault
from tests.desk.desk import Desk, Ended, Played, customers, running
from tests.suite.some import some

IDENFY, LISTING = "idenfy-kyc", "idenfy-kyc-list"


def first_run(desk: Desk) -> Ended:
    """Until what is left waits for its look-up, longer than it is waited for here."""
    return desk.onboard("run", "customers.csv", "--patience", "1 s", "--json")


def later(desk: Desk, look_up: str = "2026-01-01") -> None:
    """The time of the look-ups has come, or comes on that day."""
    desk.sql("UPDATE job SET due_at = ? WHERE unknown_attempt IS NOT NULL", f"{look_up} 00:00:00.000000")


def hold(desk: Desk) -> None:
    desk.environ["ONBOARDING__ACCOUNTS__KYC__ON_ORPHAN"] = "hold"


def dropped(played: Played) -> list[str]:
    return [entry["client"] for entry in played.calls(IDENFY) if entry["fault"]]


def each_once(played: Played) -> None:
    assert set(played.opened.values()) == {1}


@pytest.fixture
def faulty(play, desk_at):
    """A sandbox where the first calls go wrong so, and a list of ten at it."""

    def make(fault: str) -> tuple[Desk, Played]:
        played = play(faults=(Fault.parse(fault),), seed=4)
        desk = desk_at(played)
        desk.list_of(customers(10))
        return desk, played

    return make


def test_check_of_a_list_whose_answers_were_lost_says_the_same_end_as_status(faulty):
    desk, played = faulty(f"drop-after:0.4,endpoint={IDENFY}")
    first_run(desk)
    lost = len(dropped(played))
    later(desk, "2999-01-01")
    running(desk, "up")

    def ends(*command: str) -> dict:
        return desk.onboard(*command, "--json").facts["forecast"]

    assert "look-up" in ends("check", "customers.csv")["limited_by"]
    assert ends("check", "customers.csv") == ends("status", "1")
    later(desk)
    first_run(desk)
    found = ends("check", "customers.csv")
    assert found["limited_by"].startswith(f"{lost} sessions whose token was lost: the last has ended by ")
    assert found == ends("status", "1")


def test_a_session_whose_answer_was_lost_is_found_and_held_with_its_reference(faulty):
    desk, played = faulty(f"drop-after:0.4,endpoint={IDENFY}")
    hold(desk)
    ended = first_run(desk)
    lost = dropped(played)
    assert lost
    assert (ended.code, ended.facts["rows"]["waiting"]) == (3, len(lost))
    assert ended.facts["accounts"]["kyc"]["in_doubt"] == len(lost)
    assert len(lost) > 1
    assert f"{len(lost)} calls whose answer was lost, the first to be reconciled then" in " ".join(ended.err.split())
    assert f"{len(lost)} call" in desk.onboard("status", "latest").out
    assert played.calls(LISTING) == []

    later(desk)
    again = desk.onboard("run", "customers.csv", "--json")
    assert (again.code, again.facts["rows"]["held"]) == (1, len(lost))
    references = {entry["client"]: entry["reference"] for entry in played.calls(IDENFY) if entry["processed"]}
    held = [line for line in desk.onboard("report", "latest").table if line["state"] == "held"]
    assert {line["customer_id"] for line in held} == set(lost)
    for line in held:
        assert f"{references[line['customer_id']]} (ACTIVE)" in line["error"]
        assert "onboard resolve" in line["action"]
    assert len(played.calls(LISTING)) == len(lost)
    each_once(played)
    calls = again.facts["accounts"]["kyc"]
    assert (calls["requests"], calls["issued"]) == (10 + len(lost), 10 - len(lost))


def test_a_call_that_never_arrived_is_looked_up_and_made_again(faulty):
    desk, played = faulty(f"drop-before:0.4,endpoint={IDENFY}")
    assert first_run(desk).code == 3
    assert dropped(played)
    for _ in range(20):
        later(desk)
        ended = first_run(desk)
        if ended.code != 3:
            break
    assert (ended.code, ended.facts["rows"]["invited"]) == (0, 10)
    assert len(played.calls(LISTING)) == len(dropped(played))
    assert len(played.opened) == 10
    each_once(played)


@pytest.mark.parametrize("at", ["2026-01-01", "2096-01-01"])
def test_a_run_looks_up_the_calls_of_rows_that_have_ended_or_says_when_that_is_due(faulty, at):
    desk, played = faulty(f"drop-after:0.4,endpoint={IDENFY}")
    first_run(desk)
    verdict = "UPDATE job SET state = 'completed', due_at = NULL, lease_until = ?, lease_owner = ''"
    desk.sql(f"{verdict} WHERE unknown_attempt IS NOT NULL", f"{at} 00:00:00.000000")
    ended = desk.onboard("run", "customers.csv", "--patience", "1 s")
    lost = len(dropped(played))
    assert lost > 1
    assert len(played.calls(LISTING)) == (lost if at < "2050" else 0)
    due = f"{lost} calls whose answer was lost, of rows that have ended: looked up from {at}T00:00:00Z on"
    assert (due in ended.err) is (at > "2050")


def test_a_conflict_with_an_unknown_session_is_held_with_it(play, desk_at):
    played = play(conflict=True)
    desk = desk_at(played)
    hold(desk)
    desk.list_of(customers(2))
    assert desk.onboard("run", "customers.csv").code == 0
    # Another database knows nothing of these sessions, as after a restore from a backup.
    (desk.path / "onboarding.db").unlink()
    ended = desk.onboard("run", "customers.csv", "--json")
    assert (ended.code, ended.facts["rows"]["held"]) == (1, 2)
    for line in some(desk.onboard("report", "latest").table):
        assert line["error"].startswith("conflict: ")
        assert "(ACTIVE)" in line["error"]
    each_once(played)


def test_repeating_says_what_it_may_cost_and_the_sessions_that_were_found(faulty, says_no):
    desk, played = faulty(f"drop-after:1,endpoint={IDENFY}")
    desk.list_of(customers(3))  # more lost answers in a row would pause the account
    hold(desk)
    first_run(desk)
    later(desk)
    desk.onboard("run", "customers.csv")
    asked = desk.onboard("resolve", "latest", "--repeat")
    assert asked.code == 1
    assert "pays for 3 second sessions (kyc 3)" in asked.err + asked.out
    each_once(played)


@pytest.fixture
def says_no(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
