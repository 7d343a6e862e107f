"""Measures an event while a batch runs under a limit: the time from publishing it to the email in the mailbox."""

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psycopg

from benchmarks import product
from benchmarks.events import Feeder
from benchmarks.processes import ONBOARD, Failed, Meter, cpu_seconds, report, running, wait_for
from benchmarks.services import Server, database_url, driver_url, postgresql, rabbitmq
from onboarding_worker.core.foundation.clock import system_clock
from onboarding_worker.core.rules.limits import Limit
from trials.servers import free_port

# From the first call to the first event: the second worker's wake-up, connections, and one-time planning and compiling.
WARM_UP = 5.0
PATIENCE = 30.0  # seconds to wait for the last emails
STAGES = (
    "from publishing to being stored",
    "to the call's attempt being written",
    "to the call's arrival",
    "to its result being written",
    "to the hand-over being written",
    "to the email in the mailbox",
)
CONFIGURATION = """
base_url = "http://127.0.0.1:{port}/idenfy"
limits = ["{limit}"]
[broker]
url = {{ env = "BENCH_BROKER" }}
[bus]
url = {{ env = "BENCH_BROKER" }}
"""
# The times of an event's steps in the worker's rows. The worker reads each time just before it writes the row.
WAY = """
select job.customer_id, job.created_at, call.opened_at, call.closed_at, mail.opened_at
from job
join attempt call on call.job_id = job.id and call.invitation_id is null
join attempt mail on mail.job_id = job.id and mail.invitation_id is not null
where job.priority = 0
"""


@dataclass(frozen=True)
class Waits:
    """The duration of every event, in milliseconds."""

    milliseconds: Sequence[float]

    @classmethod
    def of(cls, published: Mapping[str, datetime], arrived: Iterable[tuple[str, datetime]]) -> "Waits":
        """The durations. `arrived` are all emails of events. Raises Failed if one is missing, or came twice."""
        found: dict[str, datetime] = {}
        for customer, at in arrived:
            if customer in found:
                raise Failed(f"{customer} got two emails")
            found[customer] = at
        missing = published.keys() - found.keys()
        if missing:
            raise Failed(f"{len(missing)} of {len(published)} events got no email")
        return cls([(found[customer] - at) / timedelta(milliseconds=1) for customer, at in published.items()])

    @property
    def facts(self) -> dict[str, float]:
        if len(self.milliseconds) < 2:
            raise Failed("at least two events are needed")
        hundredths = quantiles(self.milliseconds, n=100, method="inclusive")
        at = {"p50": hundredths[49], "p90": hundredths[89], "p99": hundredths[98], "max": max(self.milliseconds)}
        return {name: round(value, 1) for name, value in at.items()}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--events", type=int, default=500, help="[500]")
    parser.add_argument("--rate", type=float, default=10, help="events a second [10]")
    parser.add_argument("--rows", type=int, default=20_000, help="rows of the batch [20000]")
    parser.add_argument("--limit", default="200/second", help="the account's and the provider's limit [200/second]")
    parser.add_argument("--latency", default="5ms", help="the delay of the provider's answers [5ms]")
    parser.add_argument("--workers", type=int, action="append", help="workers of a part; repeatable [1 and 2]")


def run(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure and return the facts. Progress goes to standard error. Raises Failed."""
    product.make_secrets()
    parts = []
    for workers in chosen.workers or [1, 2]:
        report(f"{chosen.events} events while a batch runs, {workers} workers")
        with (
            tempfile.TemporaryDirectory(prefix="onboarding-bench-") as folder,
            rabbitmq(Path(folder) / "broker") as broker,
            postgresql() as server,
        ):
            parts.append(_part(chosen, workers, Path(folder), broker, server))
    given = {name: getattr(chosen, name) for name in ("events", "rate", "rows", "limit", "latency")}
    load = round(os.getloadavg()[0], 1)
    return {**given, "cores": os.cpu_count(), "load_after": load, "parts": parts}


def _part(chosen: argparse.Namespace, workers: int, folder: Path, broker: str, server: Server) -> dict[str, Any]:
    os.environ["BENCH_BROKER"] = broker
    port, smtp, database = free_port(), free_port(), server.make()
    text = CONFIGURATION.format(port=port, limit=Limit.parse(chosen.limit)) + product.EMAIL.format(port=smtp)
    product.configure(folder, text, database=database_url(database))
    product.import_list(folder, chosen.rows)
    product.tidy(database)
    log = folder / "calls.jsonl"
    sandbox = ["sandbox", "--port", str(port), "--smtp-port", str(smtp), "--log-file", str(log)]
    sandbox += ["--latency", chosen.latency, "--limit", str(Limit.parse(chosen.limit))]
    with ExitStack() as exits:
        exits.enter_context(running([*ONBOARD, *sandbox], folder=folder))
        wait_for("the sandbox's log", log.exists)
        processes = exits.enter_context(product.workers(workers, "beat", "bus", folder=folder))
        wait_for("the first call", lambda: log.stat().st_size > 0, seconds=30)
        time.sleep(WARM_UP)
        feeder = exits.enter_context(Feeder(broker))
        backends = exits.enter_context(Meter(lambda: server.backends(database)))
        before = [cpu_seconds([process.pid]) or 0.0 for process in processes]
        commits_before = server.commits(database)
        began = system_clock()
        published = _publish(feeder, chosen.events, chosen.rate)
        ended = system_clock()
        cpu = [(cpu_seconds([process.pid]) or 0.0) - was for process, was in zip(processes, before, strict=True)]
        commits = server.commits(database) - commits_before
        database_cpu = backends.seconds
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and len(mails_of_events(_read(log))) < chosen.events:
            time.sleep(0.2)
        for process in processes:
            process.check()
        entries = _read(log)
        with psycopg.connect(driver_url(database)) as connection:
            way = {customer: times for customer, *times in connection.execute(WAY)}
    if len(way) != chosen.events:
        raise Failed(f"{len(way)} of {chosen.events} events had exactly one call and one hand-over")
    stages = stages_of(published, way, entries)
    within = [entry for entry in entries if entry["endpoint"] != "smtp" and began <= _time(entry) <= ended]
    seconds = (ended - began).total_seconds()
    limit = Limit.parse(chosen.limit)
    allowed = limit.count / limit.period.total_seconds() * seconds
    return {
        "workers": workers,
        **Waits.of(published, mails_of_events(entries)).facts,
        "stages": {name: _spread([one[index] for one in stages]) for index, name in enumerate(STAGES)},
        "batch_per_second": round(sum(entry["client"] not in published for entry in within) / seconds, 1),
        "used_share": round(sum(entry["status"] != 429 for entry in within) / allowed, 4),
        "refused": sum(entry["status"] == 429 for entry in entries),
        "cpu": round(sum(cpu[:workers]) / seconds, 3),
        "cpu_beside": round(sum(cpu[workers:]) / seconds, 3),
        "database_cpu": round(database_cpu / seconds, 3),
        "commits_per_second": round(commits / seconds, 1),
    }


def stages_of(
    published: Mapping[str, datetime], way: Mapping[str, Sequence[datetime]], entries: Sequence[dict[str, Any]]
) -> list[list[float]]:
    """For each stage, its duration for each event, in milliseconds."""
    called = {entry["client"]: _time(entry) for entry in entries if entry["endpoint"] != "smtp" and entry["processed"]}
    arrived = dict(mails_of_events(entries))
    stages = []
    for customer, at in published.items():
        created, opened, closed, handed = way[customer]
        times = [at, created, opened, called[customer], closed, handed, arrived[customer]]
        stages.append([(later - earlier) / timedelta(milliseconds=1) for earlier, later in pairwise(times)])
    return stages


def _publish(feeder: Feeder, events: int, rate: float) -> dict[str, datetime]:
    """The publishing time of each customer's event. The times are random, so that they do not follow the slots."""
    gaps = random.Random(5)
    published, next_at = {}, time.monotonic()
    for number in range(events):
        next_at += gaps.expovariate(rate)
        time.sleep(max(next_at - time.monotonic(), 0))
        customer = f"E-{number:08}"
        published[customer] = system_clock()
        feeder.publish(customer, f"e{number}@example.com")
    return published


def _read(log: Path) -> list[dict[str, Any]]:
    # The last line may still be incomplete.
    return [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]


def mails_of_events(entries: Iterable[dict[str, Any]]) -> list[tuple[str, datetime]]:
    """(customer, time of arrival) of each event's email."""
    mails = [entry for entry in entries if entry["endpoint"] == "smtp" and entry["processed"]]
    of_events = [entry for entry in mails if entry["to"][0].startswith("e")]
    return [(f"E-{int(entry['to'][0][1:].partition('@')[0]):08}", _time(entry)) for entry in of_events]


def _time(entry: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(entry["at"])


def _spread(values: Sequence[float]) -> list[float]:
    hundredths = quantiles(values, n=100, method="inclusive")
    return [round(median(values), 1), round(hundredths[98], 1)]


def table(facts: dict[str, Any]) -> str:
    """The facts as Markdown tables."""
    lines = [
        f"{facts['events']:,} events, {facts['rate']:g} a second at random times, while a batch runs with"
        f" {facts['rows']:,} rows under {facts['limit']}; the provider answers after {facts['latency']}."
        f" PostgreSQL, RabbitMQ; {facts['cores']} cores, load at the end {facts['load_after']}.",
        "",
        "| workers | p50 | p90 | p99 | longest | batch's calls/s | used of the limit | refused"
        " | CPU of the workers | of beat and bus | of the database | its commits/s |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {part['workers']} | {part['p50']:g} ms | {part['p90']:g} ms | {part['p99']:g} ms | {part['max']:g} ms"
        f" | {part['batch_per_second']:g} | {part['used_share']:.1%} | {part['refused']}"
        f" | {part['cpu']:.0%} | {part['cpu_beside']:.0%} | {part['database_cpu']:.0%}"
        f" | {part['commits_per_second']:g} |"
        for part in facts["parts"]
    ]
    titles = " | ".join(f"{part['workers']} worker{'s' * (part['workers'] > 1)}: p50, p99" for part in facts["parts"])
    lines += ["", f"| stage | {titles} |", "|---" * (1 + len(facts["parts"])) + "|"]
    for name in facts["parts"][0]["stages"]:
        cells = (f"{part['stages'][name][0]:g} ms, {part['stages'][name][1]:g} ms" for part in facts["parts"])
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)
