"""Measures the import of a list: rows a second, processor time and memory, beside a script that stores less.

Each side reads the same file. Its start is not measured: it is the time that the side needs for a list of one row.
"""

import argparse
import csv
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import product
from benchmarks.processes import ONBOARD, Failed, Meter, memory_of, report, running
from benchmarks.services import Server, database_url, driver_url, number, postgresql

COLUMNS = ("customer_id", "email", "phone", "first_name", "last_name", "date_of_birth", "country", "locale")
# A country, its language, and the beginning and length of a mobile number: none of them is anybody's.
COUNTRIES = (("LT", "lt", "+3706", 7), ("DE", "de", "+49151", 8), ("GB", "en", "+447", 9), ("FR", "fr", "+336", 8))
FIRST_NAMES = ("Ona", "Jürgen", "Zoë", "Łukasz", "Maria", "Siobhán", "Peter", "Anna")
LAST_NAMES = ("Kazlauskienė", "Müller", "O'Brien", "Nguyễn", "Smith", "de la Cruz", "Żak", "Dubois")
REFUSED_EVERY, TWICE_EVERY, NATIONAL_EVERY = 200, 500, 10  # rows


def write_list(path: Path, rows: int, *, contacts: bool = True) -> tuple[int, int]:
    """Write a list of `rows` rows; returns how many of them are refused, and how many are a customer's second row.

    Without `contacts` no row has an address, and none asks for a message: what is left is all but their checks.
    """
    chance = random.Random(7)
    refused = twice = 0
    line: list[str] = []
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS if contacts else (*COLUMNS, "channel"))
        for row in range(rows):
            country, locale, start, digits = chance.choice(COUNTRIES)
            phone = start + str(chance.randrange(10**digits)).zfill(digits)
            if row % NATIONAL_EVERY == 3 and country != "LT":
                phone = "0" + phone[3:]
            email = f"c{row}@mail.example.com"
            if row % REFUSED_EVERY == 150:
                email, refused = f"c{row}.example.com", refused + 1
            elif row % TWICE_EVERY == 401:
                writer.writerow(line)
                twice += 1
                continue
            born = f"{chance.randrange(1940, 2005)}-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}"
            name = chance.choice(FIRST_NAMES), chance.choice(LAST_NAMES)
            rest = (*name, born, country, locale)
            if contacts:
                line = [f"C-{row:08}", email, phone, *rest]
            else:
                line = [f"C-{row:08}" if "@" in email else "", "", "", *rest, "none"]
            writer.writerow(line)
    return refused, twice


@dataclass(frozen=True)
class Spent:
    """Seconds of one process from its start to its end, processor seconds, and its greatest memory in MB."""

    seconds: float
    cpu: float
    database_cpu: float
    memory: float


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=50_000, help="rows of the list [50000]")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side is measured [3]")
    parser.add_argument(
        "--no-contacts", action="store_true", help="a list without addresses, which asks for no message"
    )
    parser.add_argument("--only", metavar="WORDS", help="only sides with one of these words (separated by commas)")


def run(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure and return the facts. Progress goes to standard error. Raises Failed."""
    product.make_secrets()
    load = os.getloadavg()[0]
    # The script stores rows with an email only.
    words = [word.strip().lower() for word in (chosen.only or ("ours" if chosen.no_contacts else "")).split(",")]
    names = [name for name in SIDES if any(word in name.lower() for word in words)]
    found: dict[str, list[Spent]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="onboarding-bench-") as directory, postgresql() as server:
        lists = {
            rows: _list(Path(directory) / f"{rows}.csv", rows, not chosen.no_contacts) for rows in (1, chosen.rows)
        }
        starts = {name: _measured(SIDES[name], server, lists[1]) for name in names}
        for number in range(chosen.rounds):
            for name in names:
                spent = _measured(SIDES[name], server, lists[chosen.rows])
                found[name].append(spent)
                rate = chosen.rows / (spent.seconds - starts[name].seconds)
                report(f"{number + 1}: {name}: {rate:,.0f} rows/s, {spent.memory:.0f} MB")
    return {
        "rows": chosen.rows,
        "rounds": chosen.rounds,
        "load_before": round(load, 1),
        "sides": compared(chosen.rows, starts, found),
    }


def compared(rows: int, starts: dict[str, Spent], found: dict[str, list[Spent]]) -> list[dict[str, Any]]:
    """Each side's medians without its start, and its ratio to the script."""

    def rates(name: str) -> list[float]:
        return [rows / (spent.seconds - starts[name].seconds) for spent in found[name]]

    def per_1000(name: str, kind: str) -> float:
        values = [getattr(spent, kind) - getattr(starts[name], kind) for spent in found[name]]
        return round(1000 * max(statistics.median(values), 0) / rows, 4)

    script = statistics.median(rates(SCRIPT)) if SCRIPT in found else None
    return [
        {
            "side": name,
            "rate": round(statistics.median(rates(name))),
            "rates": [round(rate) for rate in rates(name)],
            "to_script": None if script is None else round(statistics.median(rates(name)) / script, 2),
            "cpu_per_1000": per_1000(name, "cpu"),
            "database_cpu_per_1000": per_1000(name, "database_cpu"),
            "megabytes": round(max(spent.memory for spent in found[name])),
        }
        for name in found
    ]


def table(facts: dict[str, Any]) -> str:
    """The facts as a Markdown table."""
    lines = [
        f"A list of {facts['rows']:,} rows, medians of {facts['rounds']}."
        f" Load before the start {facts['load_before']:g}, which should be near 0.",
        "",
        "| side | rows/s (each round) | × script | CPU s per 1,000 | of the database | memory at most |",
        "|---|---|---|---|---|---|",
    ]
    for side in facts["sides"]:
        rates = ", ".join(f"{rate:,}" for rate in side["rates"])
        ratio = "" if side["to_script"] is None else f"{side['to_script']:.1f}"
        lines.append(
            f"| {side['side']} | {side['rate']:,} ({rates}) | {ratio} | {side['cpu_per_1000']:.3f}"
            f" | {side['database_cpu_per_1000']:.3f} | {side['megabytes']} MB |"
        )
    return "\n".join(lines)


@dataclass(frozen=True)
class _List:
    path: Path
    rows: int
    refused: int
    twice: int


def _list(path: Path, rows: int, contacts: bool) -> _List:
    return _List(path, rows, *write_list(path, rows, contacts=contacts))


Side = Callable[[Server, _List, Path], Spent]


def _measured(side: Side, server: Server, given: _List) -> Spent:
    with tempfile.TemporaryDirectory(dir=given.path.parent) as folder:
        return side(server, given, Path(folder))


def _script(server: Server, given: _List, folder: Path) -> Spent:
    name = server.make()
    command = [sys.executable, "-m", "benchmarks.script", driver_url(name), given.path]
    server.settle()
    spent = _watch(command, folder, server, name)
    with psycopg.connect(driver_url(name)) as connection:
        _expect(given.rows - given.refused - given.twice, number(connection, "select count(*) from customer"))
    server.drop(name)
    return spent


def _on_postgresql(server: Server, given: _List, folder: Path) -> Spent:
    name = server.make()
    product.configure(folder, product.EMAIL.format(port=1), database=database_url(name))
    server.settle()
    spent = _watch([*ONBOARD, "import", given.path], folder, server, name)
    with psycopg.connect(driver_url(name)) as connection:
        _expect(given.rows - given.refused - given.twice, number(connection, "select count(*) from job"))
        _expect(given.refused + given.twice, number(connection, "select count(*) from skipped_line"))
    server.drop(name)
    return spent


def _on_sqlite(server: Server, given: _List, folder: Path) -> Spent:
    product.configure(folder, product.EMAIL.format(port=1))
    return _watch([*ONBOARD, "import", given.path], folder, server, "")


SCRIPT = "a script: the same checks, one table"
SIDES: dict[str, Side] = {
    SCRIPT: _script,
    "ours on SQLite, `onboard import`": _on_sqlite,
    "ours on PostgreSQL, `onboard import`": _on_postgresql,
}


def _expect(wanted: int, found: int) -> None:
    if wanted != found:
        raise Failed(f"{found} rows are stored, not {wanted}")


def _watch(command: list[Any], folder: Path, server: Server, database: str) -> Spent:
    """Run the command to its end. Raises Failed if it fails."""
    peak = 0.0
    over = threading.Event()
    with running(command, folder=folder) as started:

        def look() -> None:
            nonlocal peak
            while not over.wait(1):  # a look takes some 20 ms, and holds up what it looks at
                peak = max(peak, memory_of(started.pid))

        def backends() -> list[int]:
            return server.backends(database) if database else []

        began = time.perf_counter()
        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        with Meter(backends, every=0.25) as meter:
            _, status, used = os.wait4(started.pid, 0)
            seconds = time.perf_counter() - began
        over.set()
        watcher.join()
        started.process.returncode = os.waitstatus_to_exitcode(status)
        if started.process.returncode not in (0, 1):  # 1: some rows were refused
            raise Failed(f"it ended with {started.process.returncode}: {started.last_output()}")
    return Spent(seconds, used.ru_utime + used.ru_stime, meter.seconds, peak)
