"""Measures what a worker and `onboard beat` cost while nothing is due: processor time and transactions."""

import argparse
import os
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.processes import ONBOARD, cpu_seconds, onboard, report, running
from benchmarks.services import database_url, postgresql, redis
from benchmarks.sides import CONFIGURATION
from worker.foundation.keyring import new_key

PROCESSES = ("worker", "beat")
SETTLES = 20.0  # seconds for the start, and for the server's counter of transactions


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=60, help="measured time [60]")


def run(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure and return the facts. Raises Failed."""
    os.environ["BENCH_KEY"] = new_key()
    load = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory(prefix="onboarding-bench-") as name,
        redis(Path(name)) as broker,
        postgresql() as server,
        ExitStack() as exits,
    ):
        folder, database = Path(name), server.make()
        text = CONFIGURATION.format(url="http://127.0.0.1:9", places=50)
        (folder / "onboarding.toml").write_text(text.replace("sqlite:///onboarding.db", database_url(database)))
        onboard(folder, "db", "upgrade")
        environment = {"ONBOARDING__BROKER__URL": broker}
        started = [
            exits.enter_context(running([*ONBOARD, command], folder=folder, environment=environment))
            for command in PROCESSES
        ]
        time.sleep(SETTLES)
        report(f"measuring for {chosen.seconds:g} s")
        commits, before = server.commits(database), [cpu_seconds([one.pid]) or 0.0 for one in started]
        time.sleep(chosen.seconds)
        after = [cpu_seconds([one.pid]) or 0.0 for one in started]
        for one in started:
            one.check()
        return {
            "load_before": round(load, 1),
            "transactions": (server.commits(database) - commits) / chosen.seconds,
            "cores": {
                name: (now - then) / chosen.seconds for name, then, now in zip(PROCESSES, before, after, strict=True)
            },
        }


def table(facts: dict[str, Any]) -> str:
    cores = ", ".join(f"{name} {share:.2%}" for name, share in facts["cores"].items())
    return f"Of a core: {cores}. {facts['transactions']:.1f} transactions/s. Load before {facts['load_before']}."
