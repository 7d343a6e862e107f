"""Runs the main job with faults and kills, then compares every row with what the sandbox received.

    python -m trials.main_job                                  embedded, on SQLite
    python -m trials.main_job --pool threads --broker redis    Celery on PostgreSQL, and so on

It starts its own processes and ends them by their ids. It uses a scratch database and the broker's queues on the
machine's own servers, which stay up; `trials.chaos` kills its servers too.
"""

import argparse
import contextlib
import json
import os
import resource
import sqlite3
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg.rows import dict_row

from trials.case import ISSUING, Case
from trials.customers import ACCOUNTS, listed, write_list
from trials.evidence import Ask, Evidence, gather
from trials.leaks import leaks
from trials.processes import kill_group
from trials.promises import broken, second_copies
from trials.stage import Stage

SERVER = os.environ.get("TEST_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres")
BROKERS = {
    "amqp": os.environ.get("TEST_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672//"),
    "redis": os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/14"),
}
FAULTS = "--fault 429:0.02,retry-after=1 --fault 500:0.01 --fault drop-after:0.005 --latency 20ms --seed 7"
LEFT = "select count(*) as number from job where state in ('waiting', 'working', 'issued')"
OPEN = "select count(*) as number from attempt where closed_at is null"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--pool", choices=["embedded", "threads", "prefork"], default="embedded")
    parser.add_argument("--broker", choices=list(BROKERS), default="amqp")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6, help="between kills")
    parser.add_argument("--faults", default=FAULTS)
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    chosen = parser.parse_args()
    customers = listed(chosen.rows)
    with Stage("onboarding-trial-", keep=chosen.keep) as stage:
        write_list(stage.folder / "list.csv", customers)
        stage.play(chosen.faults.split())
        # Short, because a call with an unknown outcome is reconciled only after both have passed.
        timeouts = {f"accounts.{name}.timeout": "5 s" for name in ACCOUNTS.values()}
        stage.configure(timeouts | {"email.timeout": "8 s", "worker.lease": "20 s"})
        with sqlite(stage) if chosen.pool == "embedded" else postgresql(stage, chosen) as ask:
            began = time.monotonic()
            wrong = (embedded if chosen.pool == "embedded" else celery)(stage, ask, chosen)
            seconds = time.monotonic() - began
            evidence = gather(ask, stage.url, stage.report())
        wrong += [*broken(Case(customers, evidence)), *leaks(stage.logs, evidence), *stage.left_behind()]
        show(evidence)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"  {chosen.rows} rows in {seconds:.1f} s with {chosen.kills} kills; largest process {peak:.0f} MB")
        stage.keep = stage.keep or bool(wrong)
    for problem in wrong[:20]:
        print(f"  WRONG: {problem}")
    if stage.keep:
        print(f"  details in {stage.folder}")
    print(f"{chosen.pool}{'' if chosen.pool == 'embedded' else ' ' + chosen.broker}: {'failed' if wrong else 'passed'}")
    return 1 if wrong else 0


@contextlib.contextmanager
def sqlite(stage: Stage) -> Iterator[Ask]:
    def ask(query: str) -> Sequence[Mapping[str, Any]]:
        with contextlib.closing(sqlite3.connect(stage.folder / "onboarding.db")) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query)]

    yield ask


@contextlib.contextmanager
def postgresql(stage: Stage, chosen: argparse.Namespace) -> Iterator[Ask]:
    """A scratch database on the machine's server, dropped at the end, and the machine's broker."""
    scratch = f"trial_{uuid.uuid4().hex[:8]}"
    database = SERVER.rsplit("/", 1)[0] + f"/{scratch}"

    def ask(query: str) -> Sequence[Mapping[str, Any]]:
        with psycopg.connect(database.replace("+psycopg", ""), row_factory=dict_row) as connection:
            return connection.execute(query.encode()).fetchall()

    stage.configure({"database.url": database, "broker.url": BROKERS[chosen.broker]})
    with psycopg.connect(SERVER.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"create database {scratch}".encode())
        try:
            stage.run("db", "upgrade")
            yield ask
        finally:
            connection.execute(f"drop database {scratch} with (force)".encode())


def embedded(stage: Stage, ask: Ask, chosen: argparse.Namespace) -> list[str]:
    stage.run("import", "list.csv")  # so that the batch exists, however soon the first kill comes
    for kill in range(chosen.kills):
        run = stage.start("run", "list.csv")
        time.sleep(chosen.seconds)
        kill_group(run)
        print(f"  kill {kill + 1}: {number_of(ask, OPEN)} calls with an unknown outcome")
    rows = json.loads(stage.run("run", "list.csv", "--json", within=600))["rows"]
    print(f"  result of the last run: {json.dumps(rows)}")
    return []


def celery(stage: Stage, ask: Ask, chosen: argparse.Namespace) -> list[str]:
    workers = [stage.start("worker", "--pool", chosen.pool) for _ in range(chosen.workers)]
    beat = stage.start("beat")
    stage.run("import", "list.csv")
    began = time.monotonic()
    for kill in range(chosen.kills):
        time.sleep(chosen.seconds)
        before = number_of(ask, OPEN)
        kill_group(workers.pop(0))
        print(f"  kill {kill + 1}: up to {max(before, number_of(ask, OPEN))} calls open at that moment")
        workers.append(stage.start("worker", "--pool", chosen.pool))
    deadline = time.monotonic() + 300
    # A query instead of a command: a command each second would use a core that the workers need.
    while number_of(ask, LEFT) and time.monotonic() < deadline:
        time.sleep(0.5)
    print(f"  sent {time.monotonic() - began:.1f} s after the import")
    ended = time.monotonic()
    wrong = stage.end_warmly([beat, *workers])
    print(f"  workers and beat ended {time.monotonic() - ended:.1f} s after SIGTERM")
    return wrong


def number_of(ask: Ask, query: str) -> int:
    return int(ask(query)[0]["number"])


def show(evidence: Evidence) -> None:
    calls, mails, texts = evidence.received.calls, evidence.received.mails, evidence.received.texts
    states = Counter(job.state for job in evidence.jobs)
    held = Counter(job.account for job in evidence.jobs if job.state == "held")
    dropped = Counter(call["endpoint"] for call in calls if call["fault"] == "drop-after")
    print(f"  states {dict(states)}; held by account {dict(held)}; dropped after processing {dict(dropped)}")
    print(f"  calls received {sum(call['endpoint'] in ISSUING for call in calls)}")
    print(f"  emails {len(mails)} (second copies {second_copies(Case([], evidence))}), texts {len(texts)}")


if __name__ == "__main__":
    sys.exit(main())
