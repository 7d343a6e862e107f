"""Measures short commands on SQLite: processor time, memory, and how many modules each loads."""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import product
from benchmarks.importing import write_list
from benchmarks.processes import ONBOARD, Failed, importable, onboard, report
from benchmarks.product import LIST

ROWS = 300
COMMANDS = ("status", f"check {LIST}", "report latest --out report.html", "customer find C-00000005", "run --help")
# What a process says of itself at its end. Of its most memory, `wait4` would say that of this one where that is more.
COUNTED = f"""import sys
try:
  {ONBOARD[-1]}
finally:
  most = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
  print(len(sys.modules), int(most) // 1024, file=sys.stderr)
"""


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=5, help="of each command [5]")


def run(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure and return the facts. Progress goes to standard error. Raises Failed."""
    product.make_secrets()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # compiling is no part of a command
    with tempfile.TemporaryDirectory(prefix="onboarding-bench-") as name:
        folder = Path(name)
        product.configure(folder, product.EMAIL.format(port=1))
        write_list(folder / LIST, ROWS)
        imported = [*ONBOARD, "import", LIST]  # ends with 1: the list has bad rows on purpose
        subprocess.run(imported, cwd=folder, env={**os.environ, **importable()}, capture_output=True)
        onboard(folder, "status")  # its modules are compiled
        return {"runs": chosen.runs, "commands": {one: _measured(folder, one, chosen.runs) for one in COMMANDS}}


def _measured(folder: Path, command: str, runs: int) -> dict[str, float]:
    report(f"{runs} times: onboard {command}")
    _, said = _once(folder, [sys.executable, "-c", COUNTED, *command.split()])
    modules, megabytes = map(int, said[-1].split())
    spent = [_once(folder, [*ONBOARD, *command.split()])[0] for _ in range(runs)]
    return {"processor_seconds": statistics.median(spent), "megabytes": megabytes, "modules": modules}


def _once(folder: Path, command: list[str]) -> tuple[float, list[str]]:
    """Processor seconds, and the lines of standard error. Raises Failed."""
    environment = {**os.environ, **importable()}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        lines = said.read().decode().splitlines()
    if process.returncode > 1:  # 1: something needs a person
        raise Failed(f"{command[-1]} ended with {process.returncode}: {' '.join(lines[-3:])}")
    return used.ru_utime + used.ru_stime, lines


def table(facts: dict[str, Any]) -> str:
    """The facts as a Markdown table."""
    lines = [
        f"Processor time is the median of {facts['runs']} runs, on SQLite with {ROWS} rows.",
        "",
        "| command | processor time | memory | modules |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{name}` | {one['processor_seconds']:.2f} s | {one['megabytes']} MB | {one['modules']} |"
        for name, one in facts["commands"].items()
    ]
    return "\n".join(lines)
