"""A month of 5,000 customers in seconds: compares the worker with an independent model.

    python -m trials.month                                   on SQLite
    python -m trials.month --customers 500 --days 10 --seed 7
    python -m trials.month --database postgresql+psycopg://…  an empty database, which is left as the month ends

Nothing leaves this process: it simulates the five endpoints, emails, texts and customers. docs/inside/trials.md
describes the run and the comparison.
"""

import argparse
import logging
import secrets
import sys
import tempfile
from pathlib import Path

from tests.trials.month.model import OF_EACH_LINK, OF_OUR_LINK, Rules, population
from trials.month.compare import differences, margin, table
from trials.month.run import STEP, NotEmpty, Plan, play

SHOWN = 20  # the most complaints of each kind that are printed


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m trials.month", description=(__doc__ or "").splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--customers", type=int, default=5000)
    parser.add_argument("--days", type=float, default=30)
    parser.add_argument("--seed", type=int, help="seed for late, repeated and reordered reports; by default random")
    parser.add_argument("--database", default="", metavar="URL", help="an empty database; by default a SQLite file")
    parser.add_argument("--fallback", action="store_true", help="text customers whose email bounced")
    parser.add_argument(
        "--links", choices=("provider", "ahead", "on-click"), default="provider", help="our own links: bought when?"
    )
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    seed = chosen.seed if chosen.seed is not None else secrets.randbelow(10_000)
    stable = chosen.links if chosen.links != "provider" else ""
    people = population(chosen.customers, OF_EACH_LINK + OF_OUR_LINK if stable else OF_EACH_LINK)
    plan = Plan(tuple(people), Rules(), chosen.days, seed, chosen.fallback, database=chosen.database, stable=stable)
    print(f"seed {seed}: {chosen.customers:,} customers, {chosen.days:g} days", flush=True)
    with tempfile.TemporaryDirectory(prefix="onboarding-month-") as folder:
        try:
            month = play(plan, Path(folder), show=lambda line: print(f"  {line}", file=sys.stderr, flush=True))
        except NotEmpty as error:
            parser.error(str(error))
    for line in table(plan, month):
        print(line)
    wrong, differ = month.complaints, differences(plan, month)
    for line in [*wrong[:SHOWN], *differ[:SHOWN]]:
        print(f"  WRONG: {line}")
    print(
        f"{chosen.days:g} days in {month.seconds:.1f} s ({month.cpu:.1f} s of a core): {month.asked:,} sessions,"
        f" {month.reports:,} reports from outside, {month.looks:,} steps"
    )
    print(f"narrowest of the model's comparisons: {margin(plan, month)}; one step is {STEP}")
    if not wrong and not differ:
        print("engine and model agree")
        return 0
    print(f"{len(differ):,} customers differ from the model; {len(wrong):,} complaints")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
