"""Compares issuing with stored results with one Celery task for each customer, and with a loop that stores nothing."""

import argparse
import os
import platform
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from operator import itemgetter
from pathlib import Path
from typing import Any

from benchmarks import product, sides
from benchmarks.processes import report
from benchmarks.provider import answering, nginx
from benchmarks.rivals.start import RIVALS
from benchmarks.services import postgresql, redis
from benchmarks.sides import Figure, Stage

BARE, NAIVE = "bare aiohttp loop, one process", "a Celery task for each customer, `-c 2`"
OURS = ("ours on SQLite, `onboard run`", "ours on PostgreSQL, one `onboard worker`", "ours on PostgreSQL, two")
SIDES: dict[str, Callable[[Stage, int], Figure]] = {
    BARE: sides.bare,
    NAIVE: sides.naive_tasks,
    "the same with a kept `requests.Session`": partial(sides.naive_tasks, keep=True),
    **{rival.title: partial(sides.rival_tasks, rival=rival) for rival in RIVALS},
    OURS[0]: sides.on_sqlite,
    OURS[1]: partial(sides.on_postgresql, workers=1),
    OURS[2]: partial(sides.on_postgresql, workers=2),
}
# The first round only measures how many rows keep a side busy for its time.
# Ours begins with few permits and doubles them: with few rows it would end before it is at its pace, and the list would
# be too short for the time that was asked for.
GUESS = {BARE: 5000, OURS[0]: 10_000} | dict.fromkeys(OURS[1:], 60_000)
GUESS_ELSE = 1500
MOST_ROWS = 300_000
BAR = 40  # characters


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=3, help="how often each side is measured [3]")
    parser.add_argument("--seconds", type=float, default=9, help="measured time of each side in a round, about [9]")
    parser.add_argument("--places", type=int, default=50, help="calls in flight, for the bare loop and for ours [50]")
    parser.add_argument("--only", metavar="WORDS", help="only sides with one of these words (separated by commas)")


def run(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure and return the facts. Progress goes to standard error. Raises Failed."""
    product.make_secrets()
    load = os.getloadavg()[0]
    if nginx() is None:
        report("nginx is not installed: a stub in Python answers instead, and limits the fast sides itself")
    missing = [rival.title for rival in RIVALS if not rival.is_installed]
    if missing:
        report(f"not installed (`make bench` does it), and left out: {', '.join(missing)}")
    words = (chosen.only or "").split(",")
    asked = [name for name in SIDES if any(word.strip().lower() in name.lower() for word in words)]
    names = [name for name in asked if name not in missing]
    figures: dict[str, list[Figure]] = {name: [] for name in names}
    with (
        tempfile.TemporaryDirectory(prefix="onboarding-bench-") as folder,
        answering(Path(folder), program=nginx()) as provider,
        redis(Path(folder)) as broker,
        postgresql() as server,
    ):
        stage = Stage(Path(folder), provider, server, broker, chosen.places)
        rows = {name: GUESS.get(name, GUESS_ELSE) for name in names}
        for number in range(chosen.rounds + 1):
            for name in names:
                figure = SIDES[name](stage, rows[name])
                report(f"{number or 'trying'}: {name}: {figure.rate:,.0f}/s, {rows[name]:,} rows")
                if number == 0:
                    rows[name] = min(max(int(figure.rate * (chosen.seconds + sides.WARM_UP)), 100), MOST_ROWS)
                else:
                    figures[name].append(figure)
            if number == 0:
                _share_lists(rows)
        machine = _machine(provider.name, server.version)
    return {
        "machine": machine,
        "load_before": round(load, 1),
        "rounds": chosen.rounds,
        "places": chosen.places,
        "sides": compared(figures),
    }


def _share_lists(rows: dict[str, int]) -> None:
    """Use one list for all sides on PostgreSQL: one import for each side would take longer than the measurements."""
    on_postgresql = [name for name in rows if "PostgreSQL" in name]
    for name in on_postgresql:
        rows[name] = max(rows[side] for side in on_postgresql)


def compared(figures: dict[str, list[Figure]]) -> list[dict[str, Any]]:
    """Each side's medians, and their ratios to the naive task and to the bare loop."""
    medians = {name: statistics.median(figure.rate for figure in found) for name, found in figures.items()}
    return [
        {
            "side": name,
            "rate": round(medians[name], 1),
            "rates": [round(figure.rate, 1) for figure in found],
            "to_naive": round(medians[name] / medians[NAIVE], 3) if NAIVE in medians else None,
            "to_bare": round(medians[name] / medians[BARE], 4) if BARE in medians else None,
            "cpu_per_1000": _median([figure.cpu for figure in found]),
            "database_cpu_per_1000": _median([figure.database_cpu for figure in found]),
        }
        for name, found in figures.items()
    ]


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(statistics.median(known), 4) if known else None


def _machine(provider: str, database: str) -> str:
    cores = f"{os.cpu_count()} cores ({platform.machine()})"
    libraries = [f"{name} {version(name)}" for name in ("aiohttp", "celery", "SQLAlchemy", "psycopg", "requests")]
    return ", ".join([cores, f"Python {platform.python_version()}", database, provider, *libraries])


def table(facts: dict[str, Any]) -> str:
    """The facts as a Markdown table and a plot."""
    lines = [
        f"{facts['machine']}. Load before the start {facts['load_before']:g}, which should be near 0."
        f" Medians of {facts['rounds']}, {facts['places']} calls in flight.",
        "",
        "| side | customers/s (each round) | × naive task | × bare loop | CPU s per 1,000 | of the database |",
        "|---|---|---|---|---|---|",
    ]
    for side in facts["sides"]:
        rates = ", ".join(f"{rate:,.0f}" for rate in side["rates"])
        cells = [
            side["side"],
            f"{side['rate']:,.0f} ({rates})",
            _cell(side["to_naive"], ".1f"),
            _cell(side["to_bare"], ".2f"),
            _cell(side["cpu_per_1000"], ".3f"),
            _cell(side["database_cpu_per_1000"], ".3f"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *plot({side["side"]: side["rate"] for side in facts["sides"]})])


def plot(rates: dict[str, float]) -> list[str]:
    """A bar for each side, as a block of Markdown: the longest is `BAR` characters wide."""
    rates = {name.replace("`", ""): rate for name, rate in rates.items()}
    width, most = max(map(len, rates)), max(rates.values())
    bars = [
        f"{name:{width}}  {'█' * max(round(BAR * rate / most), 1)} {rate:,.0f}/s"
        for name, rate in sorted(rates.items(), key=itemgetter(1))
    ]
    return ["```", *bars, "```"]


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
