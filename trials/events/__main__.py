"""Thousands of events from clients that are not ours, with duplicates and bad bytes, while processes are killed.

    python -m trials.events                                     20,000 messages over RabbitMQ, from a random seed
    python -m trials.events --broker redis --events 2000 --seed 7
    python -m trials.events --pace                              how fast one consumer stores them, and two

The run has its own database, broker and sandbox, on free ports, in a folder that is removed after it; the machine's
own servers are not touched. docs/inside/trials.md describes the run and the checks.
"""

import argparse
import contextlib
import secrets
import signal
import sys
from typing import NoReturn

from trials.events.pace import measured
from trials.events.run import Plan, run
from trials.servers import missing

SHOWN = 30  # the most complaints that are printed; the folder has all of them


def _end(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(143)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m trials.events", description=(__doc__ or "").splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--broker", choices=["amqp", "redis"], default="amqp")
    parser.add_argument("--events", type=int, default=20_000, help="messages that reach the broker")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--consumers", type=int, default=2)
    parser.add_argument("--prefetch", type=int, default=200)
    parser.add_argument("--refused", type=int, help="messages that are not events; by default 1 in 100")
    parser.add_argument(
        "--pace", action="store_true", help="only measure how many events a second one consumer stores, and two"
    )
    chosen = parser.parse_args()
    if reason := missing(chosen.broker):
        print(f"events: {reason}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _end)  # so that SIGTERM ends the started processes too
    seed = chosen.seed if chosen.seed is not None else secrets.randbelow(10_000)
    if chosen.pace:
        for consumers in (1, 2):
            pace = measured(Plan(seed, chosen.events, chosen.broker, consumers, chosen.prefetch))
            work = "" if pace.work is None else f", {pace.work:.2f} s of a core for each thousand"
            print(f"{chosen.broker}: {pace.rate:,.0f} events/s by {consumers}{work}", flush=True)
        return 0
    print(f"seed {seed}: {chosen.events} messages, {chosen.broker}, {chosen.consumers} consumers", flush=True)
    outcome = run(Plan(seed, chosen.events, chosen.broker, chosen.consumers, chosen.prefetch, chosen.refused))
    print(outcome.line)
    for complaint in outcome.wrong[:SHOWN]:
        print(f"  WRONG: {complaint}")
    if outcome.wrong:
        print(f"  {len(outcome.wrong)} in all; details in {outcome.folder}")
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
