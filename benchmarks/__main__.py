"""`python -m benchmarks [BENCHMARK]` runs one benchmark, or all of them, as `make bench` does."""

import argparse
import json
import sys

from benchmarks import commands, importing, issuing, latency, limits, whole

BENCHMARKS = {
    "issuing": issuing,
    "import": importing,
    "limits": limits,
    "latency": latency,
    "whole": whole,
    "commands": commands,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure how fast the worker is.")
    parser.add_argument("--json", action="store_true", help="the facts as one JSON document")
    which = parser.add_subparsers(dest="which", title="benchmarks", metavar="all, or one of:")
    for name, benchmark in BENCHMARKS.items():
        text = (benchmark.__doc__ or "").splitlines()[0]
        benchmark.options(which.add_parser(name, help=text, description=text))
    chosen = parser.parse_args()
    facts = {}
    for name in [chosen.which] if chosen.which else BENCHMARKS:
        given = chosen if chosen.which else parser.parse_args([name])
        facts[name] = BENCHMARKS[name].run(given)
        if not chosen.json:
            print(BENCHMARKS[name].table(facts[name]), end="\n\n", flush=True)
    if chosen.json:
        json.dump(facts, sys.stdout)
        print()


if __name__ == "__main__":
    main()
