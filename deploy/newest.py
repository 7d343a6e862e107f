"""Prints the newest versions that pyproject.toml allows, where the environment has others: what `make newest` tries.

So do users of pipx, who have no lock. All extras count, and what packages need in turn; the tools of the tests stay as
they are locked, but for those of the extra `testing`.
"""

import json
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "-qq")
NEWEST = ("--dry-run", "--upgrade", "--upgrade-strategy", "eager", "--report", "-")


def wanted(project: dict[str, Any]) -> list[str]:
    """What pyproject.toml asks for, with its bounds."""
    return [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]


def lines(report: dict[str, Any], locked: dict[str, str]) -> list[str]:
    """A line of a file of requirements for each package of pip's report, which has those that are not the newest."""
    found = ((one["metadata"]["name"], one["metadata"]["version"]) for one in report["install"])
    return [f"{name}=={number}  # the lock has {locked.get(name, 'none')}" for name, number in found]


def main() -> None:
    asked = wanted(tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"])
    answer = subprocess.run([*PIP, *NEWEST, *asked], stdout=subprocess.PIPE, check=True)  # noqa: S603
    locked = {one.name: one.version for one in distributions()}
    sys.stdout.writelines(f"{line}\n" for line in lines(json.loads(answer.stdout), locked))


if __name__ == "__main__":
    main()
