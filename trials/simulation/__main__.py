"""Plays histories of the whole engine, each from a seed, and checks what the outside saw. docs/inside/trials.md

python -m trials.simulation --seeds 500               seeds 0 to 499
python -m trials.simulation --only 3 40 117           these seeds
python -m trials.simulation --seed 17                 one history, with its lines
python -m trials.simulation --month --seeds 20        each a month, with renewals, adopted sessions and second tries
python -m trials.simulation --without leases-by-database-time without one of the mends: seeds that find it
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager

from onboarding_worker.core.foundation.garbage import tune_gc
from trials.simulation.database import Databases, PostgresqlDatabases, databases
from trials.simulation.mends import FOUND_BY, MENDS, without
from trials.simulation.plan import Plan, month_of, plan_of
from trials.simulation.play import History, play
from trials.simulation.rules import broken
from trials.simulation.rules.exact import Held, held_to_the_number
from trials.simulation.shrink import shrink

Planned = Callable[[int], Plan]
Played = tuple[int, list[str], Held]  # the seed, the complaints
CHUNK = 25  # histories that a process plays before it reports
REPORT_EVERY = 10  # chunks
MOST_FAILURES = 5  # then it ends


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m trials.simulation", description=(__doc__ or "").splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--seeds", type=int, default=200, help="how many histories (default: 200)")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--only", type=int, nargs="+", metavar="SEED", help="play these seeds")
    parser.add_argument("--seed", type=int, help="play one history, and print it")
    parser.add_argument("--without", choices=sorted(MENDS), help="take a mend out: the histories must find that")
    parser.add_argument("--missed", action="store_true", help="play the known histories that find each mend's absence")
    parser.add_argument("--month", action="store_true", help="play a month of each seed, with all that may follow")
    parser.add_argument("--until-found", action="store_true", help="end at the first broken rule")
    parser.add_argument("--postgresql", metavar="URL", help="play on this server, in databases of its own")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: the cores)")
    chosen = parser.parse_args()
    if chosen.seed is not None:
        return _show(chosen.seed, chosen.without, chosen.postgresql, month_of if chosen.month else plan_of)
    if chosen.missed:
        return _missed([chosen.without] if chosen.without else list(FOUND_BY), chosen.postgresql)
    began, failures = time.monotonic(), 0
    made = month_of if chosen.month else plan_of
    seeds: Sequence[int] = chosen.only or range(chosen.first, chosen.first + chosen.seeds)
    held, failing = Held(), 0
    for seed, complaints, of_seed in _all(seeds, chosen.without, chosen.postgresql, chosen.jobs, made):
        held += of_seed
        if not complaints:
            continue
        failures, failing = failures + 1, seed
        print(
            f"seed {seed}: {complaints[0]}" + (f" (and {len(complaints) - 1} more)" * (len(complaints) > 1)), flush=True
        )
        if failures >= MOST_FAILURES or chosen.until_found:
            break
    seconds = time.monotonic() - began
    print(held)
    if failures:
        print(f"{failures} histories break a rule; repeat one: make simulate SEED={failing}")
        return 1
    print(f"{len(seeds)} histories in {seconds:.0f} s: no rule is broken")
    return 0


def _all(seeds: Sequence[int], mend: str | None, server: str | None, jobs: int, planned: Planned) -> Iterator[Played]:
    """The seeds, in order, with the complaints about their histories."""
    if jobs == 1:
        yield from _played(seeds, mend, server, planned)
        return
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    with ProcessPoolExecutor(jobs) as pool:
        try:
            given = [(mend, server, planned)] * len(chunks)
            ended = pool.map(_played_of_chunk, chunks, *zip(*given, strict=True))
            for number, played in enumerate(ended, 1):
                yield from played
                if number % REPORT_EVERY == 0:
                    print(
                        f"{min(number * CHUNK, len(seeds))} of {len(seeds)} histories are played",
                        file=sys.stderr,
                        flush=True,
                    )
        finally:
            pool.shutdown(cancel_futures=True)


def _played_of_chunk(seeds: Sequence[int], mend: str | None, server: str | None, planned: Planned) -> list[Played]:
    return list(_played(seeds, mend, server, planned))


def _played(seeds: Iterable[int], mend: str | None, server: str | None, planned: Planned) -> Iterator[Played]:
    with _stage(mend, server) as made:
        for seed in seeds:
            history = play(planned(seed), made)
            yield seed, broken(history), held_to_the_number(history)


def _failing(seeds: Iterable[int], mend: str | None, server: str | None) -> Iterator[tuple[int, list[str]]]:
    return ((seed, complaints) for seed, complaints, _ in _played(seeds, mend, server, plan_of) if complaints)


@contextmanager
def _stage(mend: str | None, server: str | None) -> Iterator[Databases | PostgresqlDatabases]:
    tune_gc()  # as the worker's own processes do: a tenth of a history's time goes into looking for garbage
    with ExitStack() as exits:
        if mend is not None:
            exits.enter_context(without(mend))
        yield exits.enter_context(databases(server))


def _missed(mends: list[str], server: str | None) -> int:
    """Whether each mend is missed: none of its histories breaks a rule with it, and one does without it."""
    wrong = 0
    # Every mend is in these: a history that finds two of them is played once.
    seeds_of_all = sorted({seed for name in mends for seed in FOUND_BY[name]})
    breaks_with_all = {seed for seed, _ in _failing(seeds_of_all, None, server)}
    for name in mends:
        seeds = FOUND_BY[name]
        with_it = next((seed for seed in seeds if seed in breaks_with_all), None)
        found = next(_failing(seeds, name, server), None)
        wrong += with_it is not None or found is None
        print(f"{name}: {f'seed {found[0]}: {found[1][0]}' if found else 'not missed'}")
        if with_it is not None:
            print(f"  seed {with_it} breaks a rule with it too")
    return 1 if wrong else 0


def _show(seed: int, mend: str | None, server: str | None, planned: Planned) -> int:
    with _stage(mend, server) as made:
        plan = planned(seed)
        history = play(plan, made)
        complaints = broken(history)
        if not complaints:
            _print(history, complaints)
            return 0
        rule = complaints[0].partition(":")[0]

        def still_fails(candidate: Plan) -> bool:
            return any(line.startswith(f"{rule}:") for line in broken(play(candidate, made)))

        smaller = shrink(plan, still_fails)
        history = play(smaller, made)
        _print(history, broken(history))
        print(f"with all of its {len(plan.people)} customers and {len(plan.faults)} faults, the seed breaks:")
        for line in complaints:
            print(f"  {line}")
    return 1


def _print(history: History, complaints: list[str]) -> None:
    plan = history.plan
    for person in plan.people:
        print(person)
    capped = "capped, " if plan.capped else ""
    links = f"stable links, {plan.stable}; " if plan.stable else ""
    print(f"{links}{plan.hosts} hosts, limit {plan.rate or 'none'}, {capped}operator: {plan.operator or 'none'}")
    for line in history.record.lines():
        print(line)
    for customer, job in history.jobs.items():
        print(f"at the end {customer} is {job.state} {job.reason} {job.result}".rstrip())
    for line in complaints:
        print(f"  BROKEN {line}")


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of a set of texts: see chance.py
        again = [sys.executable, "-m", "trials.simulation", *sys.argv[1:]]
        os.execve(sys.executable, again, os.environ | {"PYTHONHASHSEED": "0"})  # noqa: S606 -- this command
    raise SystemExit(main())
