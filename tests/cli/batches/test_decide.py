"""`retry`, `resolve`, `pause`, `resume` and `cancel`: what a person decides about a batch."""

import io
import shutil
import sys
from pathlib import Path

import pytest

from onboarding_worker.core.foundation.features import hint
from onboarding_worker.core.foundation.keyring import new_key
from onboarding_worker.reporting.store import counting
from tests.desk.desk import DATABASE, Desk, Ended, Played, customers
from tests.suite.some import some

LATER = "2099-01-01 00:00:00.000000"
COMMANDS = [("retry",), ("resolve", "--repeat"), ("resolve", "--abandon"), ("pause",), ("resume",), ("cancel", "--yes")]


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch):
    """Answers the questions that a command asks."""
    return lambda text: monkeypatch.setattr(sys, "stdin", io.StringIO(text))


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Path:
    """A directory where the list is imported."""
    desk = Desk(tmp_path_factory.mktemp("imported"))
    assert desk.onboard("init", "--sandbox").code == 0
    shutil.copyfile(sqlite_template, desk.path / DATABASE)
    assert desk.onboard("import", desk.list_of(customers(3, au=1))).code == 0
    return desk.path


@pytest.fixture
def listed(desk: Desk, imported: Path) -> str:
    """Three customers, imported; nothing is asked for yet."""
    name = "customers.csv"
    for file in (DATABASE, "onboarding.key", "onboarding-digest.key", name):
        shutil.copyfile(imported / file, desk.path / file)
    return name


def put(desk: Desk, state: str, reason: str = "unknown") -> None:
    """Bring all rows there, as a worker had left them."""
    desk.sql("UPDATE job SET state = ?, reason = ?, attempts = 8, due_at = NULL", state, reason)


def rows(desk: Desk) -> dict[str, int]:
    counted = desk.onboard("status", "latest", "--json").facts["rows"]
    return {state: number for state, number in counted.items() if number and state != "total"}


def decided(ended: Ended, action: str, number: int) -> None:
    assert ended.code == 0, ended.err
    joined = {"joined": {}} if action in ("repeat", "abandon") else {}
    assert ended.facts == {"batch": 1, "action": action, "rows": number} | joined


def test_check_says_that_run_refuses_a_paused_or_cancelled_list(desk: Desk, played: Played, listed: str):
    assert "refuses" not in desk.onboard("check", listed).err
    for command, helps in (("pause", "`onboard resume 1` resumes it"), ("cancel", "--again imports it anew")):
        desk.onboard(command, "1", *(["--yes"] if command == "cancel" else []))
        refused = desk.onboard("run", listed)
        assert (refused.code, helps in refused.err) == (2, True)
        assert f"`onboard run` refuses this list now: {refused.err}" in desk.onboard("check", listed).err
        assert desk.onboard("check", listed, "--json").facts["refused"] == refused.err.rstrip("\n")


@pytest.mark.parametrize("day", ["events-2026-11-20", "renewals-2026-11-20"])
def test_the_batch_of_a_day_is_found_by_its_name_and_no_list_is(desk: Desk, listed: str, day: str):
    desk.sql("UPDATE batch SET name = ?, digest = ?, last_row = 4", day, day)
    desk.onboard("import", desk.list_of(customers(4)[3:], "events-2026-11-21"))
    decided(desk.onboard("pause", day, "--json"), "pause", 3)
    assert "onboard run" not in desk.onboard("resume", day).out
    assert desk.onboard("status", day, "--json").facts["batch"] == 1
    for name in ("events-2026-11-19", "events-2026-11-21"):
        refused = desk.onboard("pause", name)
        assert refused.code == 2
        assert "a batch is a number, `latest`, or that of a day, such as events-2026-11-20" in refused.err


def test_a_paused_batch_is_not_run_until_it_is_resumed(desk: Desk, played: Played, listed: str):
    decided(desk.onboard("pause", "latest", "--json"), "pause", 3)
    assert desk.onboard("status", "latest", "--json").facts["state"] == "paused"
    refused = desk.onboard("run", listed)
    assert (refused.code, refused.out) == (2, "")
    assert "onboard resume 1" in refused.err
    assert played.calls() == []
    decided(desk.onboard("resume", "1", "--json"), "resume", 3)
    assert desk.onboard("run", listed).code == 0
    assert rows(desk) == {"invited": 3}
    decided(desk.onboard("pause", "latest", "--json"), "pause", 0)  # all are out: it holds none of them back


def test_a_list_whose_batch_is_paused_is_imported_and_the_pause_is_told(desk: Desk, played: Played, listed: str):
    desk.onboard("pause", "latest")
    desk.sql("DELETE FROM job WHERE row = 4")
    desk.sql("UPDATE batch SET imported_at = NULL")  # the import was cut off
    for _ in ("the rest", "nothing"):
        imported = desk.onboard("import", listed, "--json")
        assert (imported.code, imported.facts["state"]) == (1, "paused")
        assert desk.sql("SELECT count(*), count(DISTINCT priority) FROM job") == [(3, 1)]
        assert "batch 1 of this list is paused by " in imported.err
        assert "`onboard resume 1` resumes it" in imported.err
    assert played.calls() == []


def test_a_decision_about_many_rows_shows_how_far_it_is(desk: Desk, listed: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("onboarding_worker.cli.shared_options.EVERY_SECONDS", 0.0)
    monkeypatch.setattr("onboarding_worker.lists.decisions.store.decisions.CHUNK", 2)

    def shown(*command: str) -> list[str]:
        ended = desk.onboard(*command, "--json")
        assert ended.code == 0
        return ended.err.splitlines()

    assert shown("pause", "1") == [f"pausing batch 1: {number} rows and messages" for number in (2, 3)]
    assert shown("resume", "1") == [f"resuming batch 1: {number} rows and messages" for number in (2, 3)]
    put(desk, "held")
    assert shown("resolve", "1", "--repeat", "--yes") == [f"resolving batch 1: {number} rows" for number in (2, 3)]
    put(desk, "failed")
    assert shown("retry", "1") == [f"retrying batch 1: {number} rows" for number in (2, 3)]
    assert shown("cancel", "1", "--yes") == [f"cancelling batch 1: {number} rows" for number in (2, 3)]


def test_a_short_decision_shows_only_its_result(desk: Desk, listed: str):
    assert desk.onboard("pause", "1").err == ""


def test_a_pause_a_status_and_a_resume_count_the_same_rows(desk: Desk, played: Played, listed: str):
    """Held rows wait for a person, and are not among them."""
    put(desk, "held", "unknown")
    desk.sql("UPDATE job SET state = 'waiting' WHERE row > 2")
    wait = "2 rows wait for a session or its message"
    paused = desk.onboard("pause", "1", "--reason", "the wrong list")
    assert paused.out == f"batch 1 (customers.csv) is paused until `onboard resume 1`: {wait}\n"
    assert f"needs a person: batch 1 (customers.csv): {wait}: paused by " in desk.onboard("status").out
    again = desk.onboard("pause", "1")
    assert again.out.startswith("batch 1 (customers.csv) was paused already (paused by ")
    assert again.out.endswith(f": the wrong list), and stays so until `onboard resume 1`: {wait}\n")
    assert desk.onboard("pause", "1", "--json").facts == {"batch": 1, "action": "pause", "rows": 2, "already": True}
    other = desk.onboard("run", desk.list_of(customers(5)[3:], "other.csv"))
    assert "batch 1 (customers.csv): 2 rows not sent, paused by " in other.err
    assert desk.onboard("resume", "1").out.startswith(f"batch 1 (customers.csv) goes on: {wait}\n")
    assert desk.onboard("resume", "1").out.startswith(f"batch 1 (customers.csv) was not paused: {wait}\n")
    assert desk.onboard("resume", "1", "--json").facts == {"batch": 1, "action": "resume", "rows": 2, "already": True}


def test_a_pause_does_not_count_rows_that_another_list_serves(desk: Desk, listed: str):
    desk.onboard("import", desk.list_of(customers(4), "other.csv"))
    assert desk.onboard("status", "2", "--json").facts["rows"]["waiting"] == 4
    decided_about_2 = {"batch": 2, "action": "pause", "rows": 1}
    assert desk.onboard("pause", "2", "--json").facts == decided_about_2
    assert "batch 2 (other.csv): 1 row waits for a session or its message: " in desk.onboard("status").out


def test_pausing_a_batch_leaves_another_to_be_run(desk: Desk, played: Played, listed: str):
    desk.onboard("pause", "latest")
    other = desk.onboard("run", desk.list_of(customers(5)[3:], "other.csv"), "--json")
    assert (other.code, other.facts["rows"]["invited"]) == (0, 2)
    assert desk.onboard("status", "1", "--json").facts["rows"]["waiting"] == 3
    assert len(played.sandbox.mailbox) == 2


def test_a_cancelled_batch_is_not_run_and_again_makes_a_new_one(desk: Desk, played: Played, listed: str):
    decided(desk.onboard("cancel", "latest", "--yes", "--json"), "cancel", 3)
    assert (desk.onboard("status", "1", "--json").facts["state"], rows(desk)) == ("cancelled", {"cancelled": 3})
    refused = desk.onboard("run", listed)
    assert (refused.code, refused.out) == (2, "")
    assert "--again" in refused.err
    assert played.calls() == []
    again = desk.onboard("run", listed, "--again", "--json")
    assert (again.code, again.facts["rows"]["invited"]) == (0, 3)


def test_held_rows_are_made_again_or_given_up_and_not_both(desk: Desk):
    for options in ((), ("--repeat", "--abandon")):
        ended = desk.onboard("resolve", "latest", *options)
        assert (ended.code, "give --repeat or --abandon, and not both" in ended.err) == (2, True)


@pytest.mark.parametrize("command", [("retry",), ("resolve", "--repeat", "--yes"), ("pause",), ("resume",)])
def test_a_cancelled_batch_does_not_come_back(desk: Desk, listed: str, command: tuple[str, ...]):
    desk.onboard("cancel", "latest", "--yes")
    name, *options = command
    ended = desk.onboard(name, "latest", *options)
    assert (ended.code, ended.out) == (2, "")
    assert "cancelled" in ended.err


def test_failed_rows_are_retried(desk: Desk, played: Played, listed: str):
    put(desk, "failed", "attempts_spent")
    decided(desk.onboard("retry", "latest", "--dry-run", "--json"), "retry", 3)
    assert rows(desk) == {"failed": 3}
    none = "batch 1 (customers.csv): 0 rows went back to waiting\nno row of this choice is failed: "
    assert desk.onboard("retry", "latest", "--row", "999").out.startswith(none)
    decided(desk.onboard("retry", "latest", "--row", "3,7-9", "--json"), "retry", 1)
    decided(desk.onboard("retry", "latest", "--account", "au", "--json"), "retry", 1)
    assert rows(desk) == {"failed": 1, "waiting": 2}
    told = desk.onboard("retry", "latest").out
    assert "1 row went back to waiting" in told
    assert f"without workers: `onboard run {listed}`" in told
    assert desk.onboard("run", listed).code == 0
    assert rows(desk) == {"invited": 3}


def test_held_rows_are_called_for_again(desk: Desk, played: Played, listed: str):
    put(desk, "held")
    dry = desk.onboard("resolve", "latest", "--repeat", "--dry-run", "--json").facts
    assert (dry["rows"], dry["at_worst"]) == (3, {"second_sessions": {"au": 1, "kyc": 2}, "second_messages": {}})
    shown = desk.onboard("resolve", "latest", "--repeat", "--dry-run").out
    assert "At worst that pays for 3 second sessions (au 1, kyc 2)" in shown
    assert rows(desk) == {"held": 3}
    decided(desk.onboard("resolve", "latest", "--repeat", "--row", "2", "--yes", "--json"), "repeat", 1)
    assert rows(desk) == {"held": 2, "waiting": 1}
    decided(desk.onboard("resolve", "latest", "--repeat", "--account", "kyc", "--yes", "--json"), "repeat", 2)
    assert desk.onboard("run", listed).code == 0
    assert rows(desk) == {"invited": 3}


def test_a_row_whose_link_is_for_another_person_is_asked_again_only_by_its_number(desk: Desk, listed: str):
    put(desk, "held", "not_me")
    batch, why = "batch 1 (customers.csv)", "a visitor of the link's page said that it is for another person"
    stay = f"3 rows stay held: {why}; nothing more is sent; give one row alone"
    dry = desk.onboard("resolve", "latest", "--repeat", "--dry-run").out
    assert dry.startswith(f"{batch}: 0 rows would be settled with --repeat\n{stay}")
    swept = desk.onboard("resolve", "latest", "--repeat", "--row", "2-4").out
    assert swept.startswith(f"{batch}: 0 rows went back to be called again\n{stay}")
    assert rows(desk) == {"held": 3}
    decided(desk.onboard("resolve", "latest", "--repeat", "--row", "2", "--yes", "--json"), "repeat", 1)


def test_held_rows_are_given_up(desk: Desk, played: Played, listed: str):
    put(desk, "held")
    decided(desk.onboard("resolve", "latest", "--abandon", "--dry-run", "--json"), "abandon", 3)
    assert rows(desk) == {"held": 3}
    assert "3 rows given up" in desk.onboard("resolve", "latest", "--abandon", "--yes").out
    assert rows(desk) == {"cancelled": 3}
    assert desk.onboard("run", listed).code == 0
    assert played.calls() == []


def test_rows_that_another_batch_holds_are_printed_with_that_batch(desk: Desk, listed: str):
    put(desk, "held")
    desk.onboard("import", desk.list_of(customers(5), "second.csv"))
    assert desk.onboard("status", "2", "--json").facts["rows"]["held"] == 3
    for dry in ((), ("--dry-run",)):
        ended = desk.onboard("resolve", "2", "--repeat", "--json", *dry)
        nothing = {"at_worst": {"second_sessions": {}, "second_messages": {}}} if dry else {}
        assert ended.facts == {"batch": 2, "action": "repeat", "rows": 0, "joined": {"1": 3}} | nothing
    told = desk.onboard("resolve", "2", "--abandon").out
    assert ": 0 rows given up" in told
    assert "3 rows are held by batch 1: `onboard resolve 1 --abandon`" in told
    decided(desk.onboard("resolve", "1", "--repeat", "--yes", "--json"), "repeat", 3)
    assert desk.onboard("resolve", "2", "--repeat", "--json").facts["joined"] == {}


def test_what_is_held_in_a_cancelled_batch_can_be_given_up(desk: Desk, listed: str):
    desk.onboard("cancel", "latest", "--yes")
    put(desk, "held")
    assert desk.onboard("resolve", "latest", "--abandon", "--yes").code == 0
    assert rows(desk) == {"cancelled": 3}


@pytest.mark.parametrize(
    ("command", "state"), [("resolve --repeat", "held"), ("resolve --abandon", "held"), ("cancel", "waiting")]
)
def test_one_who_says_no_changes_nothing(desk: Desk, listed: str, says, command: str, state: str):
    put(desk, state)
    name, *options = command.split()
    for answer in ("n\n", "\n"):
        says(answer)
        ended = desk.onboard(name, "latest", *options)
        assert (ended.code, ended.out.strip()) == (1, "")
        assert "nothing was changed" in ended.err
        assert rows(desk) == {state: 3}


@pytest.mark.parametrize(("command", "state"), [("resolve --repeat", "held"), ("cancel", "waiting")])
def test_without_a_terminal_to_ask_on_nothing_is_changed_and_it_names_the_option(
    desk: Desk, listed: str, says, command: str, state: str
):
    put(desk, state)
    says("")
    name, *options = command.split()
    ended = desk.onboard(name, "latest", *options)
    assert (ended.code, ended.lines[-1]) == (
        2,
        "this needs a confirmation, and there is no terminal to ask on; give --yes",
    )
    assert rows(desk) == {state: 3}


def test_the_question_states_the_cost(desk: Desk, listed: str, says):
    put(desk, "held")
    says("y\n")
    ended = desk.onboard("resolve", "latest", "--repeat")
    assert ended.code == 0
    assert "3 held rows" in ended.err
    assert "second" in ended.err
    assert rows(desk) == {"waiting": 3}
    says("y\n")
    assert desk.onboard("cancel", "latest").code == 0
    assert rows(desk) == {"cancelled": 3}


def test_a_cancel_asks_with_the_rows_the_messages_and_the_reminders_that_it_ends(
    desk: Desk, played: Played, listed: str, says
):
    says("n\n")
    asked = desk.onboard("cancel", "latest")
    assert asked.err.startswith("cancel 3 rows (3 waiting) and 3 first messages of batch 1 (customers.csv)?")
    assert desk.onboard("run", listed).code == 0
    put(desk, "invited")
    desk.sql("UPDATE invitation SET kind = 'reminder-1', state = 'waiting', due_at = ?", LATER)
    says("n\n")
    asked = desk.onboard("cancel", "latest")
    assert asked.err.startswith("cancel 3 rows (3 invited) and 3 reminders of batch 1 (customers.csv)?")


def test_what_left_before_a_cancel_stays_out(desk: Desk, played: Played, monkeypatch: pytest.MonkeyPatch):
    silent = [customer | {"channel": "none"} for customer in customers(4)[3:]]
    assert desk.onboard("run", desk.list_of([*customers(3, au=1), *silent])).code == 0
    desk.onboard("import", desk.list_of(customers(6)[4:], "other.csv"))
    for batch in ("1", "2"):
        assert desk.onboard("cancel", batch, "--yes").code == 0
    facts = desk.onboard("status", "1", "--json").facts
    assert (facts["rows"]["cancelled"], facts["cancelled_out"]) == (4, 4)
    other = desk.onboard("status", "2", "--json").facts
    assert (other["rows"]["cancelled"], "cancelled_out" in other) == (2, False)
    lines = desk.onboard("status").out.splitlines()
    shown = [line.split()[2:5] for line in lines if "cancelled" in line]
    assert shown == [["cancelled", "2", "0"], ["cancelled", "4", "4"]]
    said = desk.onboard("cancel", "1")
    assert (said.code, said.out) == (0, "batch 1 (customers.csv) was cancelled already: no row is left to cancel\n")
    monkeypatch.setattr(counting, "_MOST_CANCELLED", 3)  # of a larger batch the rows are not looked at one by one
    assert "cancelled_out" not in desk.onboard("status", "1", "--json").facts


def test_with_nothing_held_nothing_is_asked(desk: Desk, listed: str, says):
    says("")
    assert desk.onboard("resolve", "latest", "--abandon").code == 0
    assert rows(desk) == {"waiting": 3}


def test_a_person_must_say_what_becomes_of_held_rows(desk: Desk, listed: str):
    ended = desk.onboard("resolve", "latest", "--yes")
    assert (ended.code, ended.out) == (2, "")
    assert "--repeat" in ended.err
    assert "--abandon" in ended.err


def test_a_batch_that_is_not_there_is_exit_2(desk: Desk, listed: str, subtests: pytest.Subtests):
    for command in COMMANDS:
        with subtests.test(command=command):
            name, *options = command
            ended = desk.onboard(name, "7", *options)
            assert (ended.code, ended.out) == (2, "")
            assert "no batch '7'" in ended.err
            assert rows(desk) == {"waiting": 3}


def test_an_account_that_is_not_there_is_exit_2_and_names_those_that_are(
    desk: Desk, listed: str, subtests: pytest.Subtests
):
    for command in [("retry",), ("resolve", "--repeat"), ("resolve", "--abandon")]:
        with subtests.test(command=command):
            name, *options = command
            ended = desk.onboard(name, "latest", *options, "--account", "kyk")
            assert (ended.code, ended.out) == (2, "")
            assert "they are au, " in ended.err
            assert rows(desk) == {"waiting": 3}


def test_rows_of_an_account_that_was_taken_out_of_the_configuration_can_be_settled(desk: Desk, listed: str):
    desk.sql("UPDATE job SET account = 'old', state = 'held'")
    assert desk.onboard("resolve", "latest", "--abandon", "--account", "old", "--yes").code == 0
    assert rows(desk) == {"cancelled": 3}


def test_the_first_line_of_json_lines_is_row_1_and_can_be_decided_about(desk: Desk):
    desk.onboard("import", desk.write("list.jsonl", '{"customer_id": "A-1", "email": "one@example.com"}\n'))
    put(desk, "failed")

    decided(desk.onboard("retry", "latest", "--row", "1", "--json"), "retry", 1)


def test_commands_end_with_2_before_there_is_a_database(desk: Desk):
    for name, *options in COMMANDS:
        ended = desk.onboard(name, "latest", *options)
        assert (ended.code, ended.out) == (2, "")


def test_a_broker_that_cannot_be_reached_costs_a_wake_up_and_nothing_else(desk: Desk, listed: str):
    desk.add('[broker]\nurl = "redis://127.0.0.1:1/0"\n')
    put(desk, "failed")
    desk.config.rename(desk.path / "elsewhere.toml")
    # A process of its own: Celery's application reads its configuration once.
    ended = desk.run_process("retry", "latest", "--config", "elsewhere.toml", "--json")
    decided(ended, "retry", 3)
    said = [line for line in ended.lines if "the broker cannot be reached (" in line]
    assert len(said) == 1  # once, for two accounts' wake-ups
    facts = desk.onboard("status", "latest", "--config", "elsewhere.toml", "--json").facts
    assert facts["rows"]["waiting"] == 3


def test_watching_a_batch_that_is_out_ends_by_itself(desk: Desk, listed: str):
    assert desk.onboard("run", listed).code == 0
    ended = desk.onboard("status", "--watch")
    assert ended.code == 0
    assert "batch 1 (customers.csv): sent" in ended.out
    assert "3 invited" in ended.out


def test_watching_a_cancelled_batch_ends_by_itself(desk: Desk, listed: str):
    desk.onboard("cancel", "latest", "--yes")
    assert "cancelled" in desk.onboard("status", "1", "--watch").out


def test_watching_is_for_people(desk: Desk, listed: str):
    ended = desk.onboard("status", "latest", "--watch", "--json")
    assert (ended.code, ended.out) == (2, "")


def test_why_each_account_was_chosen_is_in_the_report_when_asked_for(desk: Desk, listed: str):
    plain, with_routes = desk.onboard("report", "1").table, desk.onboard("report", "1", "--with-routes").table
    assert "route" not in plain[0]
    assert all(line["route"] for line in some(with_routes))
    assert with_routes[0]["route"] != with_routes[1]["route"]  # the Australian's and the others'
    with_both = desk.onboard("report", "1", "--with-routes", "--with-links").table[0]
    assert list(with_both)[-7:] == ["route", "brand", "link", "digits", "vendor", "vendor_parameters", "next_at"]


def test_keys_that_open_nothing_stop_a_run_before_it_holds_every_row(desk: Desk, played: Played, listed: str):
    right = (desk.path / "onboarding.key").read_text()
    (desk.path / "onboarding.key").write_text(new_key())
    for command in ("run", "import"):
        ended = desk.onboard(command, listed)
        assert (ended.code, ended.out) == (2, "")
        assert "encryption.keys" in ended.err
    (desk.path / "onboarding.key").write_text(right)
    assert desk.onboard("run", listed).code == 0
    assert rows(desk) == {"invited": 3}
    assert len(played.sandbox.mailbox) == 3


def test_a_link_that_no_key_opens_is_said_in_its_row_and_the_others_have_theirs(desk: Desk, listed: str):
    desk.onboard("run", listed)
    desk.sql("UPDATE session SET encrypted = x'0111223344556677889900' WHERE customer_id = 'C-0001'")
    ended = desk.onboard("report", "1", "--with-links")
    assert ended.code == 1
    assert sorted(bool(row["link"]) for row in ended.table) == [False, True, True]
    (bad,) = [row for row in ended.table if not row["link"]]
    assert "it needs the key 11223344; is an older key missing" in bad["error"]
    assert hint("keys", "`onboard keys status`") in bad["action"]


def test_the_status_names_a_key_that_held_rows_need_and_that_is_missing(desk: Desk, listed: str):
    desk.sql("UPDATE customer SET encrypted = x'011122334455', created_at = '2020-01-01' WHERE customer_id <> 'C-0002'")
    desk.onboard("run", listed)
    found = [one for one in desk.onboard("status", "--json").facts["needs_a_person"] if one["what"] == "key"]
    command = hint("keys", "onboard keys status") or "onboard status"
    assert [(one["name"], one["command"]) for one in found] == [("11223344", command)]
    assert "2 held rows need it" in found[0]["reason"]
    assert "needs a person: key 11223344: 2 held rows need it" in desk.onboard("status").out
    assert desk.onboard("status", "--check").code == 1


def test_a_row_that_no_key_opens_is_held_and_the_others_are_invited(desk: Desk, listed: str):
    desk.sql("UPDATE customer SET encrypted = x'0000', created_at = '2020-01-01' WHERE customer_id = 'C-0001'")
    ended = desk.onboard("run", listed, "--json")
    assert ended.code == 1
    assert (ended.facts["rows"]["held"], ended.facts["rows"]["invited"]) == (1, 2)
    line = desk.onboard("report", "1").table[1]
    assert line["error"].startswith("cannot_open: ")
    assert "`onboard resolve 1` with --repeat" in line["action"]


def test_a_resume_counts_the_rows_that_wait_for_those_of_another_list(desk: Desk, listed: str):
    assert desk.onboard("pause", "1").code == 0
    lines = (desk.path / listed).read_text("utf-8").splitlines(keepends=True)
    later = desk.write("later.csv", "".join(lines[:3]))
    assert desk.onboard("import", later, "--start-at", "2030-01-01T10:00Z").code == 0

    resumed = desk.onboard("resume", "2", "--start-at", "now").out

    joined = "2 rows wait for the rows of another list that has the same customers"
    assert resumed == f"batch 2 (later.csv) was not paused: 0 rows wait for a session or its message; {joined}\n"
