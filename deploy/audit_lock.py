"""`make audit`: asks the package index whether a locked package has a known weakness.

Ends with 0 where none has, 1 where one has, and 3 where the index could not be asked: that is no good result. pip-audit
itself ends with 0 if the index knows nothing about any package.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GOOD, WEAK, NOT_AUDITED = 0, 1, 3
# Lines `ID reason`: weaknesses that cannot concern us, until a release mends them.
ACCEPTED = Path(__file__).with_name("audit-accepted.txt")
SECONDS = 300.0


def verdict(report: dict[str, Any] | None, why: str = "") -> tuple[int, list[str]]:
    """The exit code, and what to print. `report`: pip-audit's, None if there is none; `why` says why not."""
    if report is None:
        return NOT_AUDITED, [f"NOT AUDITED: {why}"]
    packages = report["dependencies"]
    weak = [
        f"{one['name']} {one['version']}: {found['id']}, {_fixed(found)}"
        for one in packages
        for found in one.get("vulns", ())
    ]
    skipped = [one for one in packages if "skip_reason" in one]
    if weak:
        return WEAK, [*weak, "`make lock` takes newer releases"]
    if skipped or not packages:
        why = skipped[0]["skip_reason"] if skipped else "the lock names no package"
        return NOT_AUDITED, [f"NOT AUDITED: {why}"]
    return GOOD, [f"{len(packages)} packages audited: no known weakness"]


def _fixed(found: dict[str, Any]) -> str:
    return f"fixed in {', '.join(found['fix_versions'])}" if found["fix_versions"] else "not fixed yet"


def accepted(text: str) -> Iterator[str]:
    """The ids of accepted weaknesses. Raises ValueError for one without a reason."""
    for line in text.splitlines():
        id_, _, reason = line.strip().partition(" ")
        if id_ and not id_.startswith("#"):
            if not reason.strip():
                raise ValueError(f"{ACCEPTED.name}: {id_} has no reason")
            yield id_


def first_package(lock: str) -> str:
    """The lock's first package alone, with its hashes."""
    found = re.search(r"^[a-z0-9][^#\n]*==(?:.*\\\n)*.*$", lock, re.MULTILINE)
    return f"{found[0]}\n" if found else ""


def audit(pip_audit: str, lock: Path, ignored: list[str]) -> tuple[int, list[str]]:
    options = ["--require-hashes", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
    options += [word for id_ in ignored for word in ("--ignore-vuln", id_)]
    command = [pip_audit, *options, "--requirement", str(lock)]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)  # noqa: S603
        return verdict(json.loads(ended.stdout))
    except subprocess.TimeoutExpired:
        return verdict(None, f"no answer within {SECONDS:.0f} seconds")
    except ValueError:  # no report: pip-audit's last line says why
        lines = ended.stderr.strip().splitlines()
        return verdict(None, lines[-1] if lines else f"pip-audit ended with {ended.returncode}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("lock", type=Path)
    parser.add_argument("--pip-audit", default="pip-audit")
    parser.add_argument("--may-skip", action="store_true", help="end with 0 where the index could not be asked")
    given = parser.parse_args()
    ignored = list(accepted(ACCEPTED.read_text(encoding="utf-8"))) if ACCEPTED.exists() else []
    # One package first: where the index says nothing about it, it is not asked about all the others.
    with tempfile.NamedTemporaryFile("w", suffix=".lock") as one:
        one.write(first_package(given.lock.read_text(encoding="utf-8")))
        one.flush()
        code, lines = audit(given.pip_audit, Path(one.name), ignored)
    if code != NOT_AUDITED:
        code, lines = audit(given.pip_audit, given.lock, ignored)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return GOOD if code == NOT_AUDITED and given.may_skip else code


if __name__ == "__main__":
    sys.exit(main())
