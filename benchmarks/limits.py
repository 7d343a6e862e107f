"""Runs three workers against a provider that enforces its limits: the used share, and the refused calls."""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import product
from benchmarks.processes import ONBOARD, Failed, onboard, report, running, wait_for
from benchmarks.services import Server, database_url, driver_url, number, postgresql, redis
from onboarding_worker.core.rules.limits import Limit, tightest
from trials.servers import free_port

SERVERS_OWN = ("50/second", "1000/minute")
CONFIGURED = {"the server's": 1, "twice the server's": 2}
SPARE_ROWS = 200
# From the start of the workers to their first call.
START_SECONDS = 30
CONFIGURATION = """
base_url = "http://127.0.0.1:{port}/idenfy"
limits = {limits}
[broker]
url = "{broker}"
"""


@dataclass(frozen=True)
class Calls:
    """The calls in the server's log, from the first call to the last."""

    calls: int
    refused: int
    seconds: float
    customers: int  # the customers with a session

    @classmethod
    def of(cls, log: Iterable[dict[str, Any]], *, seconds: float) -> "Calls":
        """The calls of the first `seconds`. Raises Failed if there are none, or if a customer got two sessions."""
        times: list[datetime] = []
        refused, served = 0, []
        for entry in log:
            at = datetime.fromisoformat(entry["at"])
            if times and (at - times[0]).total_seconds() > seconds:
                break
            times.append(at)
            refused += entry["status"] == 429
            served += [entry["client"]] if entry["processed"] else []
        if len(times) < 2:
            raise Failed("the workers made no calls")
        if len(set(served)) != len(served):
            raise Failed("a customer got two sessions")
        return cls(len(times), refused, (times[-1] - times[0]).total_seconds(), len(served))

    def used(self, limit: Limit) -> float:
        """The used share of the limit: n calls span n - 1 intervals."""
        rate = limit.count / limit.period.total_seconds()
        return (self.calls - self.refused - 1) / (rate * self.seconds)

    @property
    def refused_share(self) -> float:
        return self.refused / self.calls


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=60, help="length of each part, from its first call [60]")
    parser.add_argument("--workers", type=int, default=3, help="[3]")
    own = " and ".join(SERVERS_OWN)
    parser.add_argument("--limit", action="append", metavar="N/PERIOD", help=f"the limit of the server [{own}]")
    parser.add_argument(
        "--factor", type=float, help="one part only: the configured limits, as a factor of the server's"
    )


def run(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure and return the facts. Progress goes to standard error. Raises Failed."""
    product.make_secrets()
    os.environ["COLUMNS"] = "140"  # for the worker's own table, which the result quotes
    own = [Limit.parse(text) for text in chosen.limit or SERVERS_OWN]
    parts = CONFIGURED if chosen.factor is None else {f"{chosen.factor:g} × the server's": chosen.factor}
    facts = []
    for name, factor in parts.items():
        report(f"{chosen.workers} workers for {chosen.seconds:g} s, configured limit {name}")
        with (
            tempfile.TemporaryDirectory(prefix="onboarding-bench-") as folder,
            redis(Path(folder)) as broker,
            postgresql() as server,
        ):
            facts.append(_part(chosen, own, factor, Path(folder), broker, server) | {"configured": name})
    return {"server": list(map(str, own)), "workers": chosen.workers, "seconds": chosen.seconds, "parts": facts}


def _part(
    chosen: argparse.Namespace, own: list[Limit], factor: float, folder: Path, broker: str, server: Server
) -> dict[str, Any]:
    limit = tightest(own)
    if limit is None:
        raise Failed("the server needs at least one limit")
    port, database = free_port(), server.make()
    configured = [f"{round(one.count * factor)}/{str(one).partition('/')[2]}" for one in own]
    text = CONFIGURATION.format(broker=broker, port=port, limits=json.dumps(configured))
    product.configure(folder, text, database=database_url(database))
    rows = int(limit.count / limit.period.total_seconds() * chosen.seconds * 1.2) + SPARE_ROWS
    product.import_list(folder, rows, channel="none")
    log = folder / "calls.jsonl"
    sandbox = ["sandbox", "--port", str(port), "--smtp-port", "0", "--log-file", str(log)]
    sandbox += [argument for limit in own for argument in ("--limit", str(limit))]
    with ExitStack() as exits:
        exits.enter_context(running([*ONBOARD, *sandbox], folder=folder))
        wait_for("the sandbox's log", log.exists)
        started = exits.enter_context(product.workers(chosen.workers, "beat", folder=folder))
        wait_for("the first call", lambda: log.stat().st_size > 0, seconds=START_SECONDS)
        time.sleep(chosen.seconds)
        for process in started:
            process.check()
        shown = onboard(folder, "account", "list")
        for process in started:
            process.end()
    with psycopg.connect(driver_url(database)) as connection:
        issued = number(connection, "select count(*) from session")
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    # The file is in the order of the answers, so it is sorted here.
    entries.sort(key=lambda entry: entry["n"])
    served = sum(entry["processed"] for entry in entries)
    if issued != served:
        raise Failed(f"the server opened {served} sessions, and {issued} are stored")
    calls = Calls.of(entries, seconds=chosen.seconds)
    return {
        "limits": configured,
        "calls": calls.calls,
        "refused": calls.refused,
        "seconds": round(calls.seconds, 1),
        "used_share": round(calls.used(limit), 5),
        "refused_share": round(calls.refused_share, 5),
        "shown": shown,
    }


def table(facts: dict[str, Any]) -> str:
    """The facts as a Markdown table, with the worker's own table of the account at each part's end."""
    lines = [
        f"{facts['workers']} workers on PostgreSQL, a server that enforces {' and '.join(facts['server'])} itself.",
        "",
        "| configured limit | calls in the time | used of the server's | refused |",
        "|---|---|---|---|",
    ]
    for part in facts["parts"]:
        configured = f"{part['configured']} ({', '.join(part['limits'])})"
        calls = f"{part['calls']:,} in {part['seconds']:g} s"
        lines.append(
            f"| {configured} | {calls} | {part['used_share']:.2%} | {part['refused_share']:.2%} ({part['refused']}) |"
        )
    for part in facts["parts"]:
        lines += ["", f"`onboard account list` at the end, configured limit {part['configured']}:", "", "```"]
        lines += [*(line.rstrip() for line in part["shown"].splitlines()), "```"]
    return "\n".join(lines)
