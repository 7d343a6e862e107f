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


# A row's id says which account it is for, so that what became of it can be held against that account's rules.
KINDS = {"K": "kyc", "L": "kyc-lt", "B": "kyb", "F": "au", "N": "au-new"}
COUNTRIES = {"K": "DE", "L": "LT", "B": "FR", "F": "AU", "N": "AU"}
# Where a call whose answer was lost may not be repeated.
HELD = {"kyc", "kyc-lt", "kyb", "au-new"}
# Of these, where it is looked up: a call that never arrived is made again, and one that did is held with its session.
LOOKED_UP = {"kyc", "kyc-lt"}


def write_list(path: Path, rows: int) -> None:
    draw = random.Random(5)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        columns = "customer_id kind first_name last_name company_name email phone country locale channel entity_id"
        writer.writerow(columns.split())
        for index in range(rows):
            prefix = "KLBFN"[index % 5]
            entity = str(uuid.UUID(int=draw.getrandbits(128), version=4)) if prefix == "F" else ""
            name = ["company", "", "", "Lee & Co"] if prefix == "B" else ["individual", "Ann", "Lee", ""]
            channel = ("email", "email", "sms", "both")[index // 5 % 4]
            email, phone = f"c{index}@example.com", f"+4479{index:08}"
            writer.writerow([f"{prefix}-{index:06}", *name, email, phone, COUNTRIES[prefix], "en", channel, entity])


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


def fetched(url: str) -> list[dict]:
    with urllib.request.urlopen(url) as answer:
        return json.loads(answer.read())


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
    if any(line["account"] != KINDS[line["customer_id"][0]] for line in lines):
        wrong.append("a row was routed to another account")
    bought = Counter(entry["client"] for entry in log if entry["processed"] and entry["endpoint"] in BOUGHT)
    opened = [entry for entry in log if entry["endpoint"] == "idenfy-kyc" and entry["processed"]]
    references = {entry["client"]: entry["reference"] for entry in opened}
    for line in lines:
        if line["account"] not in HELD:
            if line["error"].startswith("unknown") and not line["reference"]:
                wrong.append(f"row {line['row']}: held, though its call may be repeated")
            continue
        sessions = bought[line["customer_id"]]
        if line["state"] == "held" and line["account"] in LOOKED_UP and not line["reference"]:
            found = references.get(line["customer_id"])
            if found is None or f"{found} (ACTIVE)" not in line["error"]:
                wrong.append(f"row {line['row']}: held without the session that was opened for it: {line['error']}")
        if sessions > 1 or (line["reference"] and sessions != 1):
            wrong.append(f"row {line['row']} ({line['account']}, {line['state']}): {sessions} sessions were opened")
    wrong += messages(folder, database, url, lines)
    live = rows_of(
        folder,
        database,
        "select count(*) from (select customer_id from session where state in ('waiting','started')"
        " group by customer_id, purpose having count(*) > 1) x",
    )[0][0]
    if live:
        wrong.append(f"{live} customers have two live sessions")
    dropped = Counter(entry["endpoint"] for entry in log if entry.get("fault") == "drop-after")
    held = Counter(line["account"] for line in lines if line["state"] == "held")
    print(f"  states {dict(states)}; held by account {dict(held)}; dropped after processing {dict(dropped)}")
    print(
        f"  calls received {sum(entry['endpoint'] in ISSUING for entry in log)}, sessions opened {sum(bought.values())}"
    )
    return wrong


ISSUING = {"idenfy-kyc", "idenfy-kyb", "frankieone-v1", "frankieone-v2"}
BOUGHT = ISSUING - {"frankieone-v2"}  # which hands the same one out again


def messages(folder: Path, database: str, url: str, lines: list[dict]) -> list[str]:
    """What is wrong with what arrived: one message for each invited customer and channel, with the stored link."""
    wrong = []
    ids: dict[str, set[str]] = {}
    words: dict[str, str] = {}
    copies: Counter[str] = Counter()
    for mail in fetched(f"{url}/_sandbox/mailbox"):
        to = mail["to"][0] if isinstance(mail["to"], list) else mail["to"]
        ids.setdefault(to, set()).add(mail["message_id"])
        copies[to] += 1
        words[to] = mail["text"].replace("\n", "")
    texts: dict[str, list[str]] = {}
    for text in fetched(f"{url}/_sandbox/texts"):
        texts.setdefault(text["to"], []).append(text["body"])
    for line in lines:
        index = int(line["customer_id"][2:])
        channel = ("email", "email", "sms", "both")[index // 5 % 4]
        email, phone = f"c{index}@example.com", f"+4479{index:08}"
        if len(texts.get(phone, [])) > 1 or len(ids.get(email, ())) > 1:
            wrong.append(f"row {line['row']} was texted twice, or has two Message-IDs")
        if line["state"] == "invited":
            expected = ({"email"} if channel in ("email", "both") else set()) | (
                {"sms"} if channel in ("sms", "both") else set()
            )
            arrived = ({"email"} if email in ids else set()) | ({"sms"} if phone in texts else set())
            if arrived != expected:
                wrong.append(f"row {line['row']} should have {sorted(expected)} and has {sorted(arrived)}")
            if any(line["link"] not in body for body in [*texts.get(phone, []), words.get(email, line["link"])]):
                wrong.append(f"row {line['row']} was sent another link than the stored one")
        elif not line["reference"] and (email in ids or phone in texts):
            wrong.append(f"row {line['row']} is {line['state']} without a session and was sent a message")
    count = "select count(*) from attempt where account = 'email' and outcome = 'unknown'"
    unknown = rows_of(folder, database, count)[0][0]
    second = sum(number - 1 for number in copies.values())
    if second > unknown:
        wrong.append(f"{second} second copies of a mail, but only {unknown} hand-overs in doubt")
    print(f"  mails {sum(copies.values())} (second copies {second}), texts {sum(map(len, texts.values()))}")
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
    # Short, because what is in doubt is looked up only when both have passed.
    os.environ["ONBOARDING__WORKER__LEASE"] = "20 s"
    for account in KINDS.values():
        os.environ[f"ONBOARDING__ACCOUNTS__{account.upper()}__TIMEOUT"] = "5 s"
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
    began = time.monotonic()
    try:
        for number in range(chosen.kills):
            time.sleep(chosen.seconds)
            before = doubt(folder, database)
            kill(workers.pop(0))
            print(f"  kill {number + 1}: up to {max(before, doubt(folder, database))} calls open at that moment")
            workers.append(start_worker(folder, chosen))
        deadline = time.monotonic() + 300
        # Asked of the database: a command each second would take a core from the workers.
        left = "select count(*) from job where state in ('waiting', 'working', 'issued')"
        while rows_of(folder, database, left)[0][0] and time.monotonic() < deadline:
            time.sleep(0.5)
        print(f"  {json.dumps(facts(folder)['rows'])}; sent {time.monotonic() - began:.1f} s after the import")
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
