"""Measures what a row costs in the database's part of issuing: its claim, its attempt, its result.

No provider is called: the results are made up. So the figures are what the worker and PostgreSQL add to the call.
"""

import argparse
import csv
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from cryptography.fernet import Fernet

from benchmarks.processes import Failed, cpu_seconds, onboard
from benchmarks.services import Server, database_url, postgresql
from benchmarks.sides import CONFIGURATION, tidy
from worker.domain.model.endings import Done
from worker.domain.model.sessions import ExpirySource, Session
from worker.engine.container import Parts
from worker.engine.runner import tune_gc
from worker.engine.steps.issue import IssueWork
from worker.settings import load
from worker.store.issuing.issue_results import IssueResult
from worker.store.issuing.open_attempts import OpenedJob
from worker.store.limits.claims import Room

T = TypeVar("T")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=20_000, help="rows of the list [20000]")
    parser.add_argument("--chunk", type=int, default=500, help="the most rows in one claim and one flush [500]")
    parser.add_argument("--permits", type=int, default=50, help="calls in flight, of which a claim's size depends [50]")


def run(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure and return the facts. Raises Failed."""
    load_before = os.getloadavg()[0]
    os.environ.setdefault("BENCH_KEY", Fernet.generate_key().decode())
    with postgresql() as server, tempfile.TemporaryDirectory(prefix="onboarding-bench-") as folder:
        name = server.make()
        _prepare(Path(folder), name, chosen)
        parts = Parts(load(Path(folder) / "onboarding.toml"))
        try:
            parts.ready()
            cost = _Cost(server, name)
            # No call is made, so none needs a session of HTTP.
            done, claims = _work(parts.issue_work("kyc", None, wake_invite=lambda *_: None), cost, chosen.chunk)  # type: ignore[arg-type]
        finally:
            parts.close()
    if done != chosen.rows:
        raise Failed(f"{done} of {chosen.rows} rows were issued")
    stages = {stage: [round(1e6 * seconds / done, 1) for seconds in cost.spent[stage]] for stage in cost.spent}
    return {"rows": done, "claims": claims, "load_before": round(load_before, 1), "stages": stages}


def table(facts: dict[str, Any]) -> str:
    lines = [
        f"{facts['rows']:,} rows in {facts['claims']} claims. Load before the start {facts['load_before']}.",
        "",
        "| stage | worker, microseconds a row | PostgreSQL |",
        "|---|--:|--:|",
    ]
    lines += [f"| {stage} | {worker} | {database} |" for stage, (worker, database) in facts["stages"].items()]
    return "\n".join(lines)


class _Cost:
    """Processor seconds by stage: of this thread, and of the database's processes for our connections."""

    def __init__(self, server: Server, name: str) -> None:
        self._server, self._name = server, name
        self.spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])

    def of(self, stage: str, work: Callable[..., T], *given: Any) -> T:
        database, began = self._database(), time.thread_time()
        result = work(*given)
        self.spent[stage][0] += time.thread_time() - began
        self.spent[stage][1] += self._database() - database
        return result

    def _database(self) -> float:
        return cpu_seconds(self._server.backends(self._name)) or 0.0


def _prepare(folder: Path, name: str, chosen: argparse.Namespace) -> None:
    text = CONFIGURATION.format(url="http://127.0.0.1:9", places=chosen.permits)
    (folder / "onboarding.toml").write_text(text.replace("sqlite:///onboarding.db", database_url(name)))
    with (folder / "list.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["customer_id", "email", "country", "channel"])
        writer.writerows([f"C-{row:08}", f"c{row}@example.com", "DE", "none"] for row in range(chosen.rows))
    onboard(folder, "db", "upgrade")
    onboard(folder, "import", "list.csv")
    tidy(name)


def _work(work: IssueWork, cost: _Cost, chunk: int) -> tuple[int, int]:
    """Claim and record all rows. Returns how many there were, and in how many claims."""
    tune_gc()  # as a worker does
    work.first_links.lived()
    done = claims = busy = 0
    while (flushed := cost.of("claim, attempt", work.flush, [], Room(chunk, chunk, busy))).opened:
        cost.of("result", work.flush, [_result(work, one) for one in flushed.opened], None)
        done, claims, busy = done + len(flushed.opened), claims + 1, flushed.permits or 0
    return done, claims


def _result(work: IssueWork, opened: OpenedJob) -> IssueResult:
    now, token = work.clock(), f"{opened.job.id:026}"
    session = Session(
        token=token,
        link=f"https://ivs.idenfy.com/api/v2/redirect?authToken={token}",
        reference=f"scan-{token}",
        expires_at=now + timedelta(hours=24),
        expiry_source=ExpirySource.ANSWER,
        references={"scanRef": f"scan-{token}"},
    )
    return IssueResult(opened, now, Done(), session=session, floor=timedelta(hours=1))
