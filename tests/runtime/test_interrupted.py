"""`run` interrupted, killed, doubled: no customer is lost, and none gets two sessions or two messages."""

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from onboarding_sandbox import Latency
from onboarding_worker.cli.running.ends import stopped_at
from onboarding_worker.core.database import schema
from onboarding_worker.runtime.batch_run import Stand
from tests.desk.desk import ONBOARD, Desk, Ended, Played, customers
from tests.suite.some import some
from tests.suite.waiting import ENDS_WITHIN, wait_until

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
NUMBER = 120
PLACES = 10  # calls in flight
IMPORTED = 3_000
# `onboard`, where the second thousand rows of an import wait in their transaction until the signal comes.
SLOWLY = """
import signal
import sys
import time
from onboarding_worker.cli import main
from onboarding_worker.lists.store.added_lines import Adding

add, rests = Adding.add, iter([0, 150])

def slowly(*arguments, **named):
    refused = add(*arguments, **named)
    print("waits", file=sys.stderr, flush=True)
    time.sleep(next(rests))
    return refused

Adding.add = slowly
signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests may run where it is ignored, as behind nohup
main()
"""
# Of calls that are done and not written yet there are those of 50 ms and of a transaction: 8 to 18 in all on an idle
# machine. Three times that is allowed, for one that is busy with other tests; test_dispatcher counts exactly.
OUTCOME_UNKNOWN = 6 * PLACES
# The tests may themselves run under `nohup`.
needs_terminal = pytest.mark.skipif(signal.getsignal(signal.SIGHUP) != signal.SIG_DFL, reason="SIGHUP is ignored here")
HANGS_UP = pytest.param(signal.SIGHUP, marks=needs_terminal)


@pytest.fixture
def slow(play: Callable[..., Played]) -> Played:
    """Answers late enough that a batch can be caught in its middle."""
    return play(latencies=(Latency.parse("80ms"), Latency.parse("smtp=5ms")))


@pytest.fixture
def busy(slow: Played, desk_at: Callable[[Played], Desk]) -> Desk:
    desk = desk_at(slow)
    desk.change("concurrency = 100", f"concurrency = {PLACES}")
    # Unknown outcomes are counted here, not waited for.
    desk.change('provider = "idenfy-kyc"', 'provider = "idenfy-kyc"\non_unknown = "hold"')
    desk.list_of(customers(NUMBER, au=NUMBER // 4))
    return desk


def everybody_once(played: Played, facts: Any, *, others: int = 0) -> None:
    """`others`: customers of other lists, who were invited too."""
    invited = facts["rows"]["invited"] + facts["rows"].get("joined", 0)
    assert facts["rows"]["total"] == NUMBER == invited + facts["rows"]["held"]
    idenfy = [entry["client"] for entry in played.calls("idenfy-kyc") if entry["processed"]]
    assert len(idenfy) == len(set(idenfy))
    frankieone: dict[str, set[str]] = {}
    for entry in played.calls("frankieone-v2"):
        frankieone.setdefault(entry["client"], set()).add(entry["token"])
    assert all(len(tokens - {None}) == 1 for tokens in frankieone.values())
    assert len(played.message_ids) == invited + others
    assert all(len(ids) == 1 for ids in played.message_ids.values())


def in_the_middle(played: Played) -> bool:
    return len(played.calls()) >= 40 and len(played.sandbox.mailbox) >= 5


def open_calls(desk: Desk) -> int:
    """The calls to iDenfy whose attempts are written and whose results are not."""
    query = "SELECT count(*) FROM attempt WHERE closed_at IS NULL AND account = 'kyc' AND invitation_id IS NULL"
    with contextlib.closing(sqlite3.connect(desk.path / "onboarding.db")) as connection:
        return int(connection.execute(query).fetchone()[0])


def other_list_leaves_it_alone(desk: Desk, played: Played, out: int) -> None:
    """Another list is sent alone, names what is left, and has a customer in common with the stopped list."""
    mails = len(played.message_ids)
    left = NUMBER - out - 1  # the row of the customer in common is served by this list from now on
    shared = customers(NUMBER)[-1]  # its row was not reached
    ended = desk.onboard("run", desk.list_of([new("Z-1"), new("Z-2"), shared], "other.csv"), "--json")
    assert (ended.code, ended.facts["rows"]["invited"]) == (0, 3)
    assert ended.facts["left_alone"] == [{"batch": 1, "name": "customers.csv", "waiting": left}]
    assert f"left alone: batch 1 (customers.csv): {left} rows not sent, stopped with Ctrl-C by " in ended.err
    assert "`onboard resume 1`" in ended.err
    assert len(played.message_ids) == mails + 3
    every = desk.onboard("run", "other.csv", "--all")
    assert (every.code, "--yes" in every.err) == (2, True)
    assert len(played.message_ids) == mails + 3


@needs_terminal
def test_a_terminal_that_goes_away_leaves_no_call_in_doubt(busy: Desk, slow: Played):
    terminal, shown = os.openpty()
    environ = {**os.environ, **busy.environ}
    process = subprocess.Popen(
        [ONBOARD, "run", "customers.csv", "--yes"], cwd=busy.path, env=environ, stdin=shown, stdout=shown, stderr=shown
    )
    os.close(shown)
    wait_until(lambda: in_the_middle(slow), "in the middle of the batch")
    os.close(terminal)
    process.send_signal(signal.SIGHUP)  # as the terminal would, were it this process's own
    assert process.wait(ENDS_WITHIN) == 130
    rows = busy.onboard("status", "1", "--json").facts["rows"]
    assert (rows["working"], rows["held"]) == (0, 0)
    assert rows["invited"] < NUMBER


def new(customer_id: str) -> dict[str, str]:
    return {"customer_id": customer_id, "email": f"{customer_id.lower()}@example.com", "country": "DE"}


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, HANGS_UP])
def test_interrupted_in_the_middle_it_ends_with_130_and_running_again_finishes(busy: Desk, slow: Played, by):
    process = busy.start("run", "customers.csv", "--json")
    wait_until(lambda: in_the_middle(slow), "in the middle of the batch")
    ended = busy.end(process, by)
    assert ended.code == 130
    out = ended.facts["rows"]["invited"]
    if by is signal.SIGINT:  # a person ended it
        assert f"stopped at {out} of {NUMBER}; {NUMBER - out} will not be sent until `onboard run" in ended.err
        assert ended.facts["state"] == "paused"
        assert ended.facts["pause_reason"].startswith("stopped with Ctrl-C by ")
        assert "resume 1`" in busy.onboard("status", "--check").out
        other_list_leaves_it_alone(busy, slow, out)
    else:
        assert f"ended at {out} of {NUMBER}" in ended.err
        assert "run the same command again" in ended.err
        assert ended.facts["state"] == "begun"
    assert ended.facts["rows"]["working"] == 0  # claimed rows were finished or released
    assert 0 < ended.facts["rows"]["invited"] < NUMBER
    again = busy.onboard("run", "customers.csv", "--json")
    rows = again.facts["rows"]
    assert (again.code, rows["invited"] + rows.get("joined", 0)) == (0, NUMBER)
    everybody_once(slow, again.facts, others=2 if by is signal.SIGINT else 0)
    assert all(sum(ids.values()) == 1 for ids in some(slow.message_ids.values()))
    assert set(slow.opened.values()) == {1}


def test_killed_in_the_middle_only_the_calls_in_flight_have_unknown_outcomes(busy: Desk, slow: Played):
    process = busy.start("run", "customers.csv", "--json")
    wait_until(lambda: in_the_middle(slow), "in the middle of the batch")
    process.kill()
    process.wait(ENDS_WITHIN)
    in_doubt = open_calls(busy)
    again = busy.onboard("run", "customers.csv", "--json")
    everybody_once(slow, again.facts)
    held = again.facts["rows"]["held"]
    assert held == in_doubt <= OUTCOME_UNKNOWN  # none but the calls whose results were not written
    assert again.code == (1 if held else 0)
    for line in some(busy.onboard("report", "latest").table):
        if line["state"] == "held":
            assert (line["account"], line["error"].partition(":")[0]) == ("kyc", "unknown")


def test_beside_a_working_process_a_second_one_is_refused_and_status_is_not(busy: Desk, slow: Played):
    process = busy.start("run", "customers.csv", "--json")
    wait_until(lambda: len(slow.calls()) > 0, "the first call")
    second = busy.onboard("run", "customers.csv", "--json")
    assert (second.code, second.out) == (2, "")
    assert f"`onboard run` (process {process.pid}) is working on this database: wait" in second.err
    facts = busy.onboard("status", "latest", "--json").facts
    assert facts["rows"]["total"] == NUMBER
    assert busy.onboard("import", busy.list_of(customers(3), "more.csv")).code == 0
    first = busy.end(process)
    assert first.code == 0
    everybody_once(slow, first.facts)


def test_interrupted_while_it_imports_it_ends_with_130_and_goes_on_where_it_was(desk: Desk, played: Played):
    listed = desk.write("big.csv", many_rows(IMPORTED, channel="none"))
    process = importing(desk, "import", listed, "--json")
    ended: Ended = desk.end(process, signal.SIGINT)
    assert (ended.code, ended.out) == (130, "")
    assert played.calls() == []
    again = desk.onboard("import", listed, "--json")
    assert again.facts["rows"] == dict.fromkeys(again.facts["rows"], 0) | {"total": IMPORTED, "waiting": IMPORTED}
    assert len(desk.onboard("status", "--json").facts["batches"]) == 1


def test_a_run_whose_database_is_upgraded_meanwhile_ends_with_1_and_loses_nothing(busy: Desk, slow: Played):
    def stamp(revision: str) -> None:
        with contextlib.closing(sqlite3.connect(busy.path / "onboarding.db", timeout=30)) as database, database:
            database.execute("UPDATE alembic_version SET version_num = ?", (revision,))

    busy.change('limits = ["2000/second"]', 'limits = ["5/second"]')  # far longer than it takes to notice
    process = busy.start("run", "customers.csv", "--json")
    wait_until(lambda: len(slow.calls()) > 0, "the first call")
    stamp("9999")
    ended = busy.end(process)
    assert ended.code == 1
    assert "newer than this release" in ended.lines[-1]
    assert (ended.facts["rows"]["working"], ended.facts["rows"]["held"]) == (0, 0)
    assert busy.onboard("run", "customers.csv").code == 2
    stamp(schema.newest())
    assert busy.onboard("status", "latest", "--json").facts["rows"] == ended.facts["rows"]


def test_the_numbers_of_a_stop_are_those_after_it():
    """Other workers send until the stop is written."""
    batch: Any = SimpleNamespace(id=1, name="list.csv", imported_at=NOON)
    counts = {"out": 2}

    def stop(_batch_id: int, *, by: str, now: datetime) -> None:
        counts["out"] = 5

    def count(_batch_id: int) -> Any:
        return SimpleNamespace(total=10, out=counts["out"], left=10 - counts["out"])

    parts: Any = SimpleNamespace(
        facts=SimpleNamespace(counts=count),
        batches=SimpleNamespace(find=lambda _number: batch),
        decisions=SimpleNamespace(with_progress=lambda _progress: SimpleNamespace(interrupt=stop)),
        clock=lambda: NOON,
    )
    assert stopped_at(parts, batch, Stand.INTERRUPTED).startswith("stopped at 5 of 10; 5 will not be sent until")


BEFORE_THE_WORK = (
    "onboarding_worker.cli.running.work.left_alone",
    "onboarding_worker.runtime.embedded.Embedded.__aenter__",
)


@pytest.mark.parametrize("before", BEFORE_THE_WORK)
def test_ctrl_c_before_the_first_call_stops_the_list_too(desk: Desk, played: Played, monkeypatch, before):
    listed = desk.list_of(customers(5), "a list.csv")
    with monkeypatch.context() as interrupting:
        interrupting.setattr(before, interrupted)
        ended = desk.onboard("run", listed)
    assert ended.code == 130
    assert "stopped at 0 of 5; 5 will not be sent until `onboard run 'a list.csv'` or `onboard resume 1`" in ended.err
    other = desk.onboard("run", desk.list_of([new("Z-1")], "other.csv"), "--all")
    assert (other.code, played.calls()) == (2, [])
    assert desk.onboard("run", listed, "--json").facts["rows"]["invited"] == 5


def test_the_stop_of_a_list_and_its_way_on_show_how_far_they_are(desk: Desk, played: Played, monkeypatch):
    monkeypatch.setattr("onboarding_worker.cli.shared_options.EVERY_SECONDS", 0.0)
    listed = desk.list_of(customers(5))
    with monkeypatch.context() as interrupting:
        interrupting.setattr(BEFORE_THE_WORK[0], interrupted)
        ended = desk.onboard("run", listed)
    assert "stopping batch 1: 5 rows and messages\n" in ended.err
    assert "resuming batch 1: 5 rows and messages\n" in desk.onboard("run", listed).err


def test_ctrl_c_during_the_import_of_run_stops_what_is_imported_until_the_same_list(
    desk: Desk, played: Played, monkeypatch
):
    listed = desk.list_of(customers(5))
    with monkeypatch.context() as interrupting:
        interrupting.setattr("onboarding_worker.lists.store.added_lines.all_added", interrupted)
        ended = desk.onboard("run", listed)
    assert ended.code == 130
    assert "stopped in the middle of the import, 5 rows in and 0 out; no more are sent until `onboard run" in ended.err
    facts = desk.onboard("status", "1", "--json").facts
    assert (facts["state"], facts["pause_reason"].startswith("stopped with Ctrl-C by ")) == ("paused", True)
    again = desk.onboard("run", listed, "--json").facts
    assert (again["batch"], again["rows"]["invited"], played.opened.total()) == (1, 5, 5)


@pytest.mark.parametrize("command", ["import", "run"])
def test_sigterm_during_an_import_says_what_is_kept_and_the_same_command_imports_the_rest(desk: Desk, command: str):
    """A service manager sends it: the list is not stopped, as it is by Ctrl-C."""
    listed = desk.write("many.csv", many_rows(IMPORTED))
    ended = desk.end(importing(desk, command, listed), signal.SIGTERM)
    assert (ended.code, ended.out) == (130, "")
    said, then = ended.err.splitlines()[-2:]
    found = re.fullmatch(
        "ended by SIGTERM in the middle of the import: batch 1 has ([0-9,]+) rows, which stay, and running workers send"
        " them",
        said,
    )
    assert found is not None
    assert then == "the same command imports the rest; `onboard cancel 1` ends the batch"
    facts = desk.onboard("status", "1", "--json").facts
    assert facts["rows"]["total"] == int(found[1].replace(",", "")) < IMPORTED
    assert facts["state"] != "paused"
    rest = desk.onboard("import", listed, "--json").facts
    assert (rest["batch"], rest["rows"]["total"]) == (1, IMPORTED)


def test_sigterm_before_an_import_begins_says_that_nothing_was_imported(desk: Desk):
    fifo = desk.path / "list"
    os.mkfifo(fifo)
    process = desk.start("import", "-", program=("/bin/sh", "-c", f'exec "{ONBOARD}" "$@" < list', "sh"))
    with fifo.open("w") as writing:  # the list goes on until this is closed
        writing.write(many_rows(1))
        writing.flush()
        caught = Path(f"/proc/{process.pid}/status")
        wait_until(lambda: catches_sigterm(caught.read_text()), "it reads the list")
        ended = desk.end(process, signal.SIGTERM)
    said = "ended by SIGTERM before the import began: nothing was imported; run the same command again"
    assert (ended.code, ended.err) == (130, f"{said}\n")
    assert desk.onboard("status", "--json").facts["batches"] == []


def many_rows(number: int, channel: str = "") -> str:
    return "customer_id,email,channel\n" + "".join(f"C-{row},p{row}@example.com,{channel}\n" for row in range(number))


def importing(desk: Desk, *arguments: str) -> subprocess.Popen[str]:
    """The command, which has imported some rows of a list and has others in a transaction."""
    desk.write("slowly.py", SLOWLY)
    process = desk.start(*arguments, program=(sys.executable, "-m", "slowly"))
    assert process.stderr is not None
    waits = (line for line in process.stderr if line == "waits\n")
    assert [*islice(waits, 2)] == ["waits\n"] * 2
    return process


def catches_sigterm(status: str) -> bool:
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(mask, 16) >> signal.SIGTERM - 1 & 1)


def interrupted(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


LOADING = """
import sys

class Interrupting:
    def find_spec(self, name, *_):
        if name == "click":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupting())
import onboarding_worker.cli
"""


def test_an_interrupt_while_it_loads_is_an_interrupt_and_no_traceback():
    ended = subprocess.run([sys.executable, "-c", LOADING], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (130, "")
    assert ended.stderr == "interrupted; safe to run again\n"
