"""The main job with faults and kills, then every row compared with what the sandbox received.

    python -m trials.main_job                                  embedded, on SQLite
    python -m trials.main_job --pool threads --broker redis    Celery on PostgreSQL, and so on

Starts processes of its own and ends them by their ids; uses a scratch database, and the broker's queues.
"""

import argparse
import csv
import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections import Counter
from pathlib import Path

import psycopg

SERVER = os.environ.get("TEST_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres")
BROKERS = {
    "amqp": os.environ.get("TEST_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672//"),
    "redis": os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/14"),
}
FAULTS = "--fault 429:0.02,retry-after=1 --fault 500:0.01 --fault drop-after:0.005 --latency 20ms --seed 7"
OUT = {"invited", "held", "failed"}


def onboard(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from worker.cli import main; main()", *arguments]
    name = "-".join(arguments[:1])
    with (folder / f"{name}-{uuid.uuid4().hex[:6]}.log").open("w") as log:
        return subprocess.Popen(
            command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )


def facts(folder: Path) -> dict:
    done = onboard(folder, "status", "latest", "--json")
    out, _ = done.communicate(timeout=60)
    return json.loads(out)


def write_list(path: Path, rows: int) -> None:
    draw = random.Random(5)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["customer_id", "first_name", "last_name", "email", "country", "locale", "entity_id"])
        for index in range(rows):
            entity = str(uuid.UUID(int=draw.getrandbits(128), version=4)) if index % 2 else ""
            country, locale = ("AU", "en") if entity else ("DE", "de")
            prefix = "F" if entity else "K"
            writer.writerow([f"{prefix}-{index:06}", "Ann", "Lee", f"c{index}@example.com", country, locale, entity])


def rows_of(folder: Path, database: str, query: str) -> list[tuple]:
    if database.startswith("sqlite"):
        with sqlite3.connect(folder / "onboarding.db") as connection:
            return connection.execute(query).fetchall()
    with psycopg.connect(database.replace("+psycopg", "")) as connection:
        return connection.execute(query).fetchall()


def kill(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def doubt(folder: Path, database: str) -> int:
    return rows_of(folder, database, "select count(*) from attempt where closed_at is null")[0][0]


def verify(folder: Path, database: str, url: str, rows: int) -> list[str]:
    """What is wrong, after all of it; empty when nothing is."""
    wrong = []
    with urllib.request.urlopen(f"{url}/_sandbox/log") as answer:
        log = [json.loads(line) for line in answer]
    done = onboard(folder, "report", "latest", "--format", "jsonl", "--with-links", "--out", "report.jsonl")
    done.wait(timeout=120)
    lines = [json.loads(line) for line in (folder / "report.jsonl").read_text().splitlines()]
    states = Counter(line["state"] for line in lines)
    if len(lines) != rows or set(states) - OUT:
        wrong.append(f"not all rows are accounted for: {dict(states)} of {rows}")
    opened = Counter(entry["client"] for entry in log if entry["endpoint"] == "idenfy-kyc" and entry["processed"])
    twice = [client for client, sessions in opened.items() if sessions > 1]
    if twice:
        wrong.append(f"{len(twice)} customers have a second iDenfy session")
    lost = [line for line in lines if line["account"] == "kyc" and line["state"] == "invited"]
    if any(opened[line["customer_id"]] != 1 for line in lost):
        wrong.append("an invited iDenfy customer has no session at the sandbox, or several")
    if any(line["state"] != "invited" for line in lines if line["account"] == "au"):
        wrong.append("a FrankieOne row was not repeated to its end")
    with urllib.request.urlopen(f"{url}/_sandbox/mailbox") as answer:
        mails = json.loads(answer.read())
    ids: dict[str, set[str]] = {}
    copies: Counter[str] = Counter()
    text: dict[str, str] = {}
    for mail in mails:
        to = mail["to"][0] if isinstance(mail["to"], list) else mail["to"]
        ids.setdefault(to, set()).add(mail["message_id"])
        copies[to] += 1
        text[to] = mail["text"]
    unknown = rows_of(
        folder, database, "select count(*) from attempt where invitation_id is not null and outcome = 'unknown'"
    )[0][0]
    for line in lines:
        to = f"c{int(line['customer_id'][2:])}@example.com"
        if line["state"] == "invited":
            if len(ids.get(to, ())) != 1:
                wrong.append(f"row {line['row']} has {len(ids.get(to, ()))} Message-IDs")
            elif line["link"] not in text[to].replace("\n", ""):
                wrong.append(f"row {line['row']} was sent another link than the stored one")
        elif to in ids:
            wrong.append(f"row {line['row']} is {line['state']} and was sent a message")
    second_copies = sum(count - 1 for count in copies.values())
    if second_copies > unknown:
        wrong.append(f"{second_copies} second copies, but only {unknown} hand-overs whose outcome was unknown")
    live = rows_of(
        folder,
        database,
        "select count(*) from (select customer_id from session where state in ('waiting','started')"
        " group by customer_id, purpose having count(*) > 1) x",
    )[0][0]
    if live:
        wrong.append(f"{live} customers have two live sessions")
    dropped = sum(1 for entry in log if entry["endpoint"] == "idenfy-kyc" and entry.get("fault") == "drop-after")
    print(
        f"  states {dict(states)}; iDenfy dropped after processing {dropped}; second copies of a mail {second_copies}"
    )
    print(f"  calls received {len(log) - len(mails)}, mails {len(mails)}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--pool", choices=["embedded", "threads", "prefork"], default="embedded")
    parser.add_argument("--broker", choices=list(BROKERS), default="amqp")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6, help="between kills")
    parser.add_argument("--faults", default=FAULTS)
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="onboarding-trial-"))
    write_list(folder / "list.csv", chosen.rows)
    sandbox = onboard(folder, "sandbox", "--port", "0", "--smtp-port", "0", "--json", *chosen.faults.split())
    said = json.loads(sandbox.stdout.readline())
    ports = ["--port", str(said["port"]), "--smtp-port", str(said["smtp_port"])]
    onboard(folder, "init", "--sandbox", *ports).wait(timeout=30)
    database, scratch = "sqlite", ""
    if chosen.pool != "embedded":
        scratch = f"trial_{uuid.uuid4().hex[:8]}"
        with psycopg.connect(SERVER.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f"create database {scratch}")
        database = SERVER.rsplit("/", 1)[0] + f"/{scratch}"
        os.environ["ONBOARDING__DATABASE__URL"] = database
        os.environ["ONBOARDING__BROKER__URL"] = BROKERS[chosen.broker]
        os.environ["ONBOARDING__WORKER__LEASE"] = "20 s"
        os.environ["ONBOARDING__ACCOUNTS__KYC__TIMEOUT"] = "5 s"
        os.environ["ONBOARDING__ACCOUNTS__AU__TIMEOUT"] = "5 s"
        os.environ["ONBOARDING__EMAIL__TIMEOUT"] = "8 s"
    began = time.monotonic()
    try:
        (embedded if chosen.pool == "embedded" else celery)(folder, database, chosen)
        seconds = time.monotonic() - began
        wrong = verify(folder, database, said["url"], chosen.rows)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"  {chosen.rows} rows in {seconds:.1f} s with {chosen.kills} kills; largest process {peak:.0f} MB")
    finally:
        kill(sandbox)
        if scratch:
            with psycopg.connect(SERVER.replace("+psycopg", ""), autocommit=True) as connection:
                connection.execute(f"drop database {scratch} with (force)")
    for problem in wrong[:20]:
        print(f"  WRONG: {problem}")
    print(f"{chosen.pool}{'' if chosen.pool == 'embedded' else ' ' + chosen.broker}: {'failed' if wrong else 'passed'}")
    return 1 if wrong else 0


def embedded(folder: Path, database: str, chosen: argparse.Namespace) -> None:
    for number in range(chosen.kills):
        run = onboard(folder, "run", "list.csv")
        time.sleep(chosen.seconds)
        kill(run)
        print(f"  kill {number + 1}: {doubt(folder, database)} calls in doubt")
    run = onboard(folder, "run", "list.csv", "--json")
    out, _ = run.communicate(timeout=600)
    print(f"  run ended with {run.returncode}; {json.dumps(json.loads(out)['rows'])}")


def celery(folder: Path, database: str, chosen: argparse.Namespace) -> None:
    onboard(folder, "db", "upgrade").wait(timeout=60)
    workers = [start_worker(folder, chosen) for _ in range(chosen.workers)]
    beat = onboard(folder, "beat")
    onboard(folder, "import", "list.csv").wait(timeout=120)
    try:
        for number in range(chosen.kills):
            time.sleep(chosen.seconds)
            before = doubt(folder, database)
            kill(workers.pop(0))
            print(f"  kill {number + 1}: up to {max(before, doubt(folder, database))} calls open at that moment")
            workers.append(start_worker(folder, chosen))
        deadline = time.monotonic() + 300
        while (now := facts(folder))["state"] not in ("sent", "finished") and time.monotonic() < deadline:
            time.sleep(1)
        print(f"  {json.dumps(now['rows'])}")
    finally:
        for process in [beat, *workers]:
            process.send_signal(signal.SIGTERM)
        ended = time.monotonic()
        for process in [beat, *workers]:
            try:
                process.wait(timeout=40)
            except subprocess.TimeoutExpired:
                print("  WRONG: a process did not end within 40 s of SIGTERM")
                kill(process)
        print(f"  workers and beat ended {time.monotonic() - ended:.1f} s after SIGTERM")


def start_worker(folder: Path, chosen: argparse.Namespace) -> subprocess.Popen[str]:
    return onboard(folder, "worker", "--pool", chosen.pool)


if __name__ == "__main__":
    sys.exit(main())
