"""Issuing durably, against a bare aiohttp loop that keeps nothing: `python -m benchmarks.issuing`.

Both ask the same stub on this machine, in the same run; the figure to quote is the ratio. Needs PostgreSQL for
its part, in a scratch database (TEST_POSTGRESQL_URL).
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import uuid
from datetime import datetime, timedelta
from pathlib import Path

import aiohttp
import psycopg

from worker.bootstrap import Parts
from worker.customers import Channel, Customer
from worker.embedded import Embedded
from worker.keyring import new_key
from worker.settings import load
from worker.states import JobState
from worker.store import schema
from worker.store.batches import AcceptedLine
from worker.store.facts import BatchCounts
from worker.store.jobs import BATCH

SERVER = os.environ.get("TEST_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres")
CONFIG = """
[database]
url = "{database}"
[encryption]
keys = [{{ env = "BENCH_KEY" }}]
[accounts.au]
provider = "frankieone-v2"
base_url = "http://127.0.0.1:{port}"
api_key = {{ env = "BENCH_KEY" }}
customer_id = {{ env = "BENCH_KEY" }}
link = "https://verify.example.com/start#token={{token}}"
limits = []
concurrency = {places}
[[routes]]
accounts = ["au"]
"""


async def bare(port: int, calls: int, places: int) -> float:
    """Calls a second of a loop that only asks."""
    queue = iter(range(calls))
    url = f"http://127.0.0.1:{port}/v2/individuals/{uuid.uuid4()}/actions/idv/token"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask() -> None:
            for _ in queue:
                async with session.post(url, data=b"{}", headers={"Content-Type": "application/json"}) as answer:
                    json.loads(await answer.read())

        began = time.perf_counter()
        await asyncio.gather(*(ask() for _ in range(places)))
    return calls / (time.perf_counter() - began)


def prepare(folder: Path, rows: int) -> int:
    parts = Parts(load(folder / "onboarding.toml"))
    schema.upgrade(parts.database)
    parts.ready()
    batch, _ = parts.batches.open(name="bench", digest=uuid.uuid4().hex, again=False, now=parts.clock())
    lines = [
        AcceptedLine(
            row, Customer(f"C-{uuid.uuid4().hex}", channel=Channel.NONE, entity_id=str(uuid.uuid4())), "au", "", 600
        )
        for row in range(2, rows + 2)
    ]
    for start in range(0, rows, 1000):
        parts.batches.add(batch.id, lines[start : start + 1000], [], priority=BATCH, now=parts.clock())
    parts.batches.imported(batch.id, now=parts.clock())
    parts.close()
    return batch.id


def work(folder: Path, batch_id: int) -> None:
    """One process that works until nothing of the batch is left."""

    def is_done(counts: BatchCounts) -> bool:
        return not counts.jobs.get(JobState.WAITING) and not counts.jobs.get(JobState.WORKING)

    async def go() -> None:
        parts = Parts(load(folder / "onboarding.toml"))
        parts.ready()
        await Embedded(parts).work(
            batch_id, is_done=is_done, patience=timedelta(), show=lambda _counts, _waits_for: None
        )
        parts.close()

    asyncio.run(go())


def durable(folder: Path, processes: int, rows: int) -> float:
    batch_id = prepare(folder, rows)
    workers = [multiprocessing.Process(target=work, args=(folder, batch_id)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    parts = Parts(load(folder / "onboarding.toml"))
    with parts.database.read() as connection:
        # From the first attempt to the last result: start-up and the display's waits are not the engine's.
        opened, closed, done = connection.exec_driver_sql(
            f"select min(opened_at), max(closed_at), count(*) from attempt where batch_id = {batch_id}"
            " and outcome = 'done'"
        ).one()
    parts.close()
    if done != rows:
        raise SystemExit(f"{done} of {rows} were issued")
    if isinstance(opened, str):
        opened, closed = datetime.fromisoformat(opened), datetime.fromisoformat(closed)
    return rows / (closed - opened).total_seconds()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10000)
    parser.add_argument("--places", type=int, default=50)
    parser.add_argument("--only", choices=["sqlite", "postgresql"])
    chosen = parser.parse_args()
    multiprocessing.set_start_method("spawn")
    os.environ["BENCH_KEY"] = new_key()
    stub = subprocess.Popen([sys.executable, "-m", "benchmarks.stub"], stdout=subprocess.PIPE, text=True)
    port = int(stub.stdout.readline())
    scratch = f"bench_{uuid.uuid4().hex[:8]}"
    try:
        base = asyncio.run(bare(port, chosen.rows * 2, chosen.places))
        print(f"bare aiohttp loop, one process   {base:8.0f}/s   1.00")
        if chosen.only != "postgresql":
            folder = Path(tempfile.mkdtemp())
            config = CONFIG.format(database="sqlite:///bench.db", port=port, places=chosen.places)
            (folder / "onboarding.toml").write_text(config)
            speed = durable(folder, 1, chosen.rows)
            print(f"SQLite, one process              {speed:8.0f}/s   {speed / base:.2f}")
        if chosen.only != "sqlite":
            with psycopg.connect(SERVER.replace("+psycopg", ""), autocommit=True) as connection:
                connection.execute(f"create database {scratch}")
            folder = Path(tempfile.mkdtemp())
            database = SERVER.rsplit("/", 1)[0] + f"/{scratch}"
            config = CONFIG.format(database=database, port=port, places=chosen.places)
            (folder / "onboarding.toml").write_text(config)
            for processes in (1, 2):
                speed = durable(folder, processes, chosen.rows * processes)
                name = f"PostgreSQL, {processes} process{'es' if processes > 1 else ''}"
                print(f"{name:<32} {speed:8.0f}/s   {speed / base:.2f}")
    finally:
        stub.terminate()
        stub.wait()
        with psycopg.connect(SERVER.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f"drop database if exists {scratch} with (force)")


if __name__ == "__main__":
    main()
