"""Measures one call to a provider: the processor time of building, making and reading it.

The ways of making a call run by turns, each in a process of its own, against a stub that answers at once. The figures
are processor time, because other work on the machine changes that less than the calls a second.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.adapters import ENDPOINTS, measured
from benchmarks.processes import Failed, importable
from benchmarks.provider import answering, nginx

# What is shown: the way for `benchmarks.caller`.
WAYS = {
    "aiohttp alone": "bare",
    "aiohttp alone, uvloop": "bare-uvloop",
    "`Http` through ClientSession": "session",
    "`Http`": "http",
    "adapter and `Http`": "adapter",
    "`IssueWork.call`, a plain success": "issue-work",
}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--calls", type=int, default=20_000, help="calls of each way in each round [20000]")
    parser.add_argument("--rounds", type=int, default=5, help="rounds [5]")
    parser.add_argument("--places", type=int, default=50, help="calls in flight [50]")


def run(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure and return the facts. Progress goes to standard error. Raises Failed."""
    figures: dict[str, list[list[float]]] = {title: [] for title in WAYS}
    with (
        tempfile.TemporaryDirectory(prefix="onboarding-bench-") as folder,
        answering(Path(folder), program=nginx()) as provider,
    ):
        for number in range(chosen.rounds):
            print(f"round {number + 1} of {chosen.rounds}", file=sys.stderr)
            for title, way in WAYS.items():
                figures[title].append(_made(way, provider.url, chosen.calls, chosen.places))
    return {
        "python": platform.python_version(),
        "aiohttp": aiohttp.__version__,
        "provider": provider.name,
        "places": chosen.places,
        "rounds": chosen.rounds,
        "ways": {title: _medians(rows) for title, rows in figures.items()},
        "adapters": {name: measured(endpoint) for name, endpoint in ENDPOINTS.items()},
    }


def _made(way: str, url: str, calls: int, places: int) -> list[float]:
    """User and system microseconds a call, and calls a second."""
    command = [sys.executable, "-m", "benchmarks.caller", way, url, str(calls), str(places)]
    made = subprocess.run(command, env={**os.environ, **importable()}, capture_output=True, text=True)
    if made.returncode:
        raise Failed(f"{way}: {made.stderr[-500:]}")
    return [float(figure) for figure in made.stdout.split()]


def _medians(rows: list[list[float]]) -> dict[str, float]:
    return {
        "user": statistics.median(user for user, _, _ in rows),
        "system": statistics.median(system for _, system, _ in rows),
        "total": statistics.median(user + system for user, system, _ in rows),
    }


def table(facts: dict[str, Any]) -> str:
    lines = [
        f"{facts['places']} calls in flight, {facts['provider']}, Python {facts['python']}, aiohttp {facts['aiohttp']};"
        f" medians of {facts['rounds']}. Microseconds of processor time a call.",
        "",
        "| one call | user | system | together |",
        "|---|--:|--:|--:|",
        *(
            f"| {title} | {figures['user']:.0f} | {figures['system']:.0f} | {figures['total']:.0f} |"
            for title, figures in facts["ways"].items()
        ),
        "",
        "| adapter | build | read |",
        "|---|--:|--:|",
        *(f"| {name} | {build:.1f} | {read:.1f} |" for name, (build, read) in facts["adapters"].items()),
    ]
    return "\n".join(lines)
