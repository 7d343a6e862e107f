"""Measures webhooks: how many `onboard web` stores and answers, how fast, and how soon they are processed.

One `onboard web` runs on PostgreSQL, without a worker. Each invited customer has one webhook with a result. The client
that signs and sends the webhooks runs on the same processors.
"""

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import psycopg

from benchmarks.processes import ONBOARD, cpu_seconds, free_port, listens, onboard, running, wait_for
from benchmarks.services import database_url, driver_url, postgresql
from worker.foundation.keyring import new_key

KEY = "a-webhook-key-of-the-benchmark"
CONFIGURATION = """
[database]
url = "{database}"
[encryption]
keys = [{{ env = "BENCH_KEY" }}]
[accounts.kyc]
provider = "idenfy-kyc"
api_key = {{ env = "BENCH_KEY" }}
api_secret = {{ env = "BENCH_KEY" }}
webhook_keys = [{{ env = "BENCH_WEBHOOK_KEY" }}]
[[routes]]
accounts = ["kyc"]
[email]
url = "smtp://127.0.0.1:1"
from = "Example Bank <verify@example.com>"
"""
# Invited customers.
SEED = """
insert into batch (name, digest, generation, created_at, imported_at) values ('bench', 'bench', 1, now(), now());
insert into customer (customer_id, kind, country, locale, timezone, created_at, changed_at)
  select 'c-' || n, 'individual', 'LT', 'lt', '', now(), now() from generate_series(1, {count}) n;
insert into job (id, batch_id, row, customer_id, purpose, channel, template, entity_id, account, route,
                 fallback_accounts, floor_seconds, state, priority, lease_owner, fence, attempts, waits, reissues,
                 reason, detail, result, created_at, changed_at)
  select 1000000000 + n, 1, n, 'c-' || n, 'onboarding', 'email', '', '', 'kyc', '', '', 3600, 'invited', 10, '', 1, 1,
         0, 0, '', '', '', now(), now() from generate_series(1, {count}) n;
insert into session (id, customer_id, purpose, job_id, account, reference, "references", vendor, encrypted, sms_sent,
                     state, issued_at, expires_at, expiry_source, company_id)
  select gen_random_uuid(), customer_id, purpose, id, 'kyc', 'scan-' || row, '{{}}', '', '', false, 'waiting', now(),
         now() + interval '7 days', 'answer', '' from job;
update job set session_id = session.id from session where session.job_id = job.id;
analyze;
"""


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=10_000, help="webhooks [10000]")
    parser.add_argument("--concurrency", type=int, default=50, help="webhooks in flight [50]")


def run(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure and return the facts. Progress goes to standard error. Raises Failed."""
    os.environ["BENCH_KEY"], os.environ["BENCH_WEBHOOK_KEY"] = new_key(), KEY
    print(f"{chosen.count:,} webhooks, {chosen.concurrency} at a time", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="onboarding-bench-") as directory, postgresql() as server:
        folder, name, port = Path(directory), server.make(), free_port()
        (folder / "onboarding.toml").write_text(CONFIGURATION.format(database=database_url(name)))
        onboard(folder, "db", "upgrade")
        with psycopg.connect(driver_url(name), autocommit=True) as connection:
            for statement in SEED.format(count=chosen.count).split(";\n"):
                connection.execute(statement.encode())
            server.settle()
            with running([*ONBOARD, "web", "--bind", f"127.0.0.1:{port}"], folder=folder) as web:
                wait_for("onboard web", lambda: listens(port))
                used = cpu_seconds([web.pid])
                began = time.monotonic()
                seconds = asyncio.run(_send(f"http://127.0.0.1:{port}/webhooks/kyc", chosen.count, chosen.concurrency))
                answered = time.monotonic() - began
                query = "select count(*) from job where state = 'completed'"
                wait_for(
                    "the last result",
                    lambda: (connection.execute(query).fetchone() or (0,))[0] == chosen.count,
                    seconds=120,
                )
                worked = time.monotonic() - began
                spent = cpu_seconds([web.pid])
    return {
        "count": chosen.count,
        "concurrency": chosen.concurrency,
        "answered_per_second": chosen.count / answered,
        "milliseconds": {name: 1000 * value for name, value in zip(("p50", "p99"), _percentiles(seconds), strict=True)},
        "worked_off_per_second": chosen.count / worked,
        "behind_seconds": worked - answered,
        "web_cpu_ms": None if used is None or spent is None else 1000 * (spent - used) / chosen.count,
    }


def table(facts: dict[str, Any]) -> str:
    return "\n".join(
        [
            f"{facts['count']:,} webhooks, {facts['concurrency']} at a time, one `onboard web` on PostgreSQL.",
            "",
            "| answered | p50 | p99 | processed | the last one after its answer | processor time, each |",
            "|---|---|---|---|---|---|",
            f"| {facts['answered_per_second']:,.0f}/s | {facts['milliseconds']['p50']:.0f} ms"
            f" | {facts['milliseconds']['p99']:.0f} ms | {facts['worked_off_per_second']:,.0f}/s"
            f" | {facts['behind_seconds']:.1f} s | {facts['web_cpu_ms'] or float('nan'):.2f} ms |",
        ]
    )


def _percentiles(seconds: list[float]) -> tuple[float, float]:
    return statistics.median(seconds), statistics.quantiles(seconds, n=100)[98]


async def _send(url: str, count: int, concurrency: int) -> list[float]:
    """The seconds until each webhook was answered."""
    numbers, seconds = iter(range(1, count + 1)), []
    statuses: Counter[int] = Counter()

    async def one_after_the_other(http: aiohttp.ClientSession) -> None:
        for number in numbers:
            body = _body(number)
            signature = hmac.new(KEY.encode(), body, hashlib.sha256).hexdigest()
            headers = {"Idenfy-Signature": signature, "Idenfy-Event-Type": "IDENTIFICATION_AUTO_FINISHED"}
            began = time.perf_counter()
            async with http.post(url, data=body, headers=headers) as answer:
                await answer.read()
            seconds.append(time.perf_counter() - began)
            statuses[answer.status] += 1

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=concurrency)) as http:
        await asyncio.gather(*(one_after_the_other(http) for _ in range(concurrency)))
    if set(statuses) != {200}:
        print(f"answered: {dict(statuses)}", file=sys.stderr)
    return seconds


def _body(number: int) -> bytes:
    """A body of about four kilobytes, as a result with its screening has."""
    fields = {"final": True, "scanRef": f"scan-{number}", "clientId": f"c-{number}", "finishTime": int(time.time())}  # noqa: TID251 -- the provider's clock
    return json.dumps({**fields, "status": {"overall": "APPROVED"}, "AML": ["x" * 80] * 45}).encode()
