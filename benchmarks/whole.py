"""Runs the whole way with email: each customer of a list gets a session and a message with its link."""

import argparse
import os
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import product, sides
from benchmarks.processes import Failed, Started, cpu_seconds, memory_of, report, running, wait_for
from benchmarks.provider import answering, nginx
from benchmarks.services import Server, database_url, driver_url, number, postgresql, redis
from trials.servers import answers, free_port

BARE_CALLS = 30_000  # of the bare loop, directly before each part
WARM_UP = 3.0  # seconds after the first message whose processor time is not counted
LOOK = 0.25  # seconds between two looks at the number of messages; with more than LOOKS_OF rows, more: all are counted
LOOKS_OF = 100_000
TENTHS = 10  # a worker's memory is read after each tenth of the rows
PATIENCE = 60  # seconds without a message after which it is stuck
SENT = "select count(*) from invitation where state in ('sent', 'delivered')"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=30_000, help="customers [30000]")
    parser.add_argument("--rounds", type=int, default=2, help="rounds [2]")
    parser.add_argument("--workers", type=int, action="append", help="workers of a part; repeatable [1 and 2]")
    parser.add_argument("--places", type=int, default=50, help="calls in flight of all workers [50]")
    parser.add_argument("--connections", type=int, default=8, help="connections to the mail server [8]")


def run(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure and return the facts. Progress goes to standard error. Raises Failed."""
    product.make_secrets()
    load = os.getloadavg()[0]
    parts: list[dict[str, Any]] = []
    with (
        tempfile.TemporaryDirectory(prefix="onboarding-bench-") as name,
        answering(Path(name), program=nginx()) as provider,
        redis(Path(name)) as broker,
        postgresql() as server,
        ExitStack() as exits,
    ):
        folder, port = Path(name), free_port()
        sink, command = _sink(port)
        exits.enter_context(running(command, folder=folder))
        wait_for(sink, lambda: answers(port))
        text = sides.CONFIGURATION.format(url=provider.url, places=chosen.places)
        text += f"{product.EMAIL.format(port=port)}connections = {chosen.connections}"
        prepared = server.make()
        product.configure(folder, text, database=database_url(prepared))
        product.import_list(folder, chosen.rows, first_name="Ona", last_name="Kazlauskienė")
        product.tidy(prepared)
        stage = sides.Stage(folder, provider, server, broker, chosen.places)
        for number in range(1, chosen.rounds + 1):
            for workers in chosen.workers or [1, 2]:
                loop = sides.bare(stage, BARE_CALLS).rate
                part = _part(chosen.rows, workers, folder, broker, server, prepared)
                report(f"{number}: {workers} workers: {part['rate']:,.0f}/s, bare loop {loop:,.0f}/s")
                parts.append({**part, "to_bare": part["rate"] / loop})
    return {"load_before": round(load, 1), "rows": chosen.rows, "sink": sink, "parts": parts}


def table(facts: dict[str, Any]) -> str:
    lines = [
        f"{facts['rows']:,} customers, {facts['sink']}. Load before the start {facts['load_before']}.",
        "",
        "| workers | customers/s | of the last 70 % | CPU s per 1,000 | of the database | MB of a worker by tenths |",
        "|--:|--:|--:|--:|--:|---|",
    ]
    for part in facts["parts"]:
        spent = f"{part['cpu_per_1000']:.3f} | {part['database_cpu_per_1000']:.3f}"
        memory = ", ".join(f"{megabytes:.0f}" for megabytes in part["megabytes"])
        rates = f"{part['rate']:,.0f} | {part['late_rate']:,.0f}"
        lines.append(f"| {part['workers']} | {rates} | {spent} | {memory} |")
    return "\n".join(lines)


def _sink(port: int) -> tuple[str, list[str]]:
    """The name and the command of a mail server that accepts each message and keeps none."""
    program = shutil.which("smtp-sink", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    if program is None:
        return "a mail server in Python", [sys.executable, "-m", "benchmarks.smtp_sink", str(port)]
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    return "smtp-sink of postfix", [program, *user, f"127.0.0.1:{port}", "1000"]


def _part(rows: int, workers: int, folder: Path, broker: str, server: Server, prepared: str) -> dict[str, Any]:
    name = server.make(like=prepared)
    environment = {"ONBOARDING__DATABASE__URL": database_url(name), "ONBOARDING__BROKER__URL": broker}
    server.settle()
    with (
        product.workers(workers, "beat", folder=folder, environment=environment) as processes,
        psycopg.connect(driver_url(name), autocommit=True) as connection,
    ):
        part = _measured(rows, processes, connection, server, name)
        for what, query in {
            "live sessions": "select count(*) from session where state = 'waiting'",
            "messages": SENT,
            "hand-overs": "select count(*) from attempt where invitation_id is not null and outcome = 'done'",
        }.items():
            sides.expect(rows, {what: number(connection, query)})
        part |= {"rate": _rate(connection, 0, rows), "late_rate": _rate(connection, int(0.3 * rows), rows)}
    server.drop(name)
    return {"workers": workers, **part}


def _rate(connection: psycopg.Connection, skipped: int, rows: int) -> float:
    """Messages a second: from the first call, or, with `skipped`, after the hand-over of so many."""
    first = "select min(opened_at) from attempt"
    later = "select sent_at from invitation order by sent_at offset %s limit 1"
    query = f"select extract(epoch from max(sent_at) - ({later if skipped else first})) from invitation"
    row = connection.execute(query, [skipped] if skipped else None).fetchone()
    return (rows - skipped) / float(row[0]) if row else 0.0


def _measured(
    rows: int, processes: list[Started], connection: psycopg.Connection, server: Server, name: str
) -> dict[str, Any]:
    pids = [process.pid for process in processes]
    # The backend that counts for us is not the product's.
    own = connection.info.backend_pid

    def in_database() -> dict[int, float]:
        return {pid: spent for pid, spent in server.spent(name).items() if pid != own}

    sent, moved_at = 0, time.perf_counter()
    first_at: float | None = None
    began: tuple[int, float, dict[int, float]] | None = None
    megabytes: list[float] = []
    while sent < rows:
        time.sleep(LOOK * max(1, rows / LOOKS_OF))
        before, sent, now = sent, number(connection, SENT), time.perf_counter()
        if sent > before:
            moved_at = now
            first_at = first_at or now
        elif now - moved_at > PATIENCE:
            raise Failed(f"{sent} of {rows} messages, then none; {processes[0].last_output()}")
        for process in processes:
            process.check()
        if TENTHS * sent >= rows * (len(megabytes) + 1):
            megabytes.append(memory_of(pids[0]))
        if began is None and first_at and now - first_at >= WARM_UP:
            began = sent, cpu_seconds(pids) or 0.0, in_database()
    if began is None:
        raise Failed("too few rows to be measured")
    first, cpu, backends = began
    messages, spent = rows - first, in_database()
    database = sum(spent[pid] - backends.get(pid, 0.0) for pid in spent)
    return {
        "cpu_per_1000": ((cpu_seconds(pids) or 0.0) - cpu) * 1000 / messages,
        "database_cpu_per_1000": database * 1000 / messages,
        "megabytes": megabytes,
    }
