"""Plays histories of several lists, events and people on the same customers, and checks the rows after each step.

docs/inside/trials.md

python -m trials.lists --seeds 300       seeds 0 to 299
python -m trials.lists --seed 17         one history, line by line
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from trials.lists.play import play
from trials.simulation.database import databases

STEPS = 120
CHUNK = 5  # histories that a process plays before it reports
MOST_FAILURES = 5  # then it ends


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m trials.lists", description=(__doc__ or "").splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--seeds", type=int, default=100, help="how many histories (default: 100)")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"operations before the end (default: {STEPS})")
    parser.add_argument("--seed", type=int, help="play one history, and print it")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: the cores)")
    chosen = parser.parse_args()
    if chosen.seed is not None:
        return _show(chosen.seed, chosen.steps)
    began, failures = time.monotonic(), 0
    for seed, complaints in _failing(range(chosen.first, chosen.first + chosen.seeds), chosen.steps, chosen.jobs):
        failures += 1
        more = f" (and {len(complaints) - 1} more)" if len(complaints) > 1 else ""
        print(f"seed {seed}: {complaints[0]}{more}", flush=True)
        if failures >= MOST_FAILURES:
            break
    if failures:
        print(f"{failures} histories break a rule; repeat one: make lists SEED={seed}")
        return 1
    print(f"{chosen.seeds} histories in {time.monotonic() - began:.0f} s: no rule is broken")
    return 0


def _show(seed: int, steps: int) -> int:
    with databases() as made:
        history = play(seed, steps, made)
    print(*history.lines, sep="\n")
    for complaint in history.complaints:
        print(f"BROKEN {complaint.rstrip()}")
    return 1 if history.complaints else 0


def _failing(seeds: range, steps: int, jobs: int) -> Iterator[tuple[int, list[str]]]:
    """The seeds whose histories break a rule, in order."""
    if jobs == 1:
        yield from _failing_of_chunk(seeds, steps)
        return
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    with ProcessPoolExecutor(jobs) as pool:
        try:
            for failing in pool.map(_failing_of_chunk, chunks, [steps] * len(chunks)):
                yield from failing
        finally:
            pool.shutdown(cancel_futures=True)


def _failing_of_chunk(seeds: range, steps: int) -> list[tuple[int, list[str]]]:
    with databases() as made:
        return [(seed, found) for seed in seeds if (found := play(seed, steps, made).complaints)]


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of a set of texts: see trials/simulation/chance.py
        again = [sys.executable, "-m", "trials.lists", *sys.argv[1:]]
        os.execve(sys.executable, again, os.environ | {"PYTHONHASHSEED": "0"})  # noqa: S606 -- this command
    raise SystemExit(main())
