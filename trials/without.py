"""Takes features out of a copy of this checkout, and runs there what must work without them: make without FEATURE=name

Several at once, in quotes: FEATURE="audit keys". Few such runs can leave out each feature while each other one is in.
The copy has no folder, no tests and no page of the feature. There: the commands start, what the feature brought is
refused by name, the demo comes to its end, the tests that are left pass, and two histories of the simulation hold.
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from onboarding_worker.core.foundation import shipped
from onboarding_worker.core.foundation.features import FEATURES, NOT_INSTALLED
from tests.suite.order import LONG

ROOT = Path(__file__).parents[1]
ALL = "all"
SEEDS = "2"
# What features add to: commands, pages, settings, routes. Without the tests that take long, and those on PostgreSQL.
ADDED_TO = [
    f"tests/{room}"
    for room in ("core/foundation/test_manifests.py", "cli", "deploy", "docs", "settings", "web", "wiring")
]


def taken(name: str) -> set[str]:
    """The features to take out: this one, and those that are off without it."""
    here = FEATURES.here
    if name == ALL:
        return {*here}
    out = {name}
    while more := {one.name for one in here.values() if out & {*one.needs}} - out:
        out |= more
    return out


def copy_without(names: Iterable[str], into: Path) -> Path:
    """A copy of the checkout without these features, and a Python beside it that imports the copy."""
    copy = into / "checkout"
    for name in _files():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
    for compiled in ROOT.glob("worker/**/__pycache__"):  # of files as old as those copied, so that they are valid
        shutil.copytree(compiled, copy / compiled.relative_to(ROOT))
    menu = copy / "mkdocs.yml"
    for name in names:
        for folder in ("worker/features", "tests/features"):
            shutil.rmtree(copy / folder / name, ignore_errors=True)
        (copy / f"docs/features/{name}.md").unlink(missing_ok=True)
        menu.write_text(menu.read_text("utf-8").replace(f"      - features/{name}.md\n", ""), "utf-8")
    _python_for(copy)
    return copy


def _files() -> list[str]:
    """The files of this checkout, without what is made from them."""
    listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [name for name in names if (ROOT / name).is_file() or (ROOT / name).is_symlink()]


def _python_for(copy: Path) -> None:
    """An environment with this one's packages, but with the copy in place of this checkout."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", copy / ".venv"], check=True)
    ours = Path(sysconfig.get_path("purelib"))
    theirs = copy / ".venv" / ours.relative_to(sys.prefix)
    # Paths in a .pth file are not searched for further ones, so that of this checkout is not found.
    (theirs / "copy.pth").write_text(f"{copy}\n{ours}\n", encoding="utf-8")
    for script in (Path(sys.prefix) / "bin").iterdir():
        if script.is_file() and not script.is_symlink() and script.read_bytes()[:2] == b"#!":
            text = script.read_text(encoding="utf-8").replace(sys.prefix, str(copy / ".venv"))
            made = copy / ".venv/bin" / script.name
            made.write_text(text, encoding="utf-8")
            made.chmod(0o755)


def run(copy: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")} | more
    program = copy / ".venv/bin" / words[0]
    return subprocess.run([program, *words[1:]], cwd=copy, env=environ, capture_output=True, text=True, check=False)


def refusals(copy: Path, names: set[str]) -> Iterator[tuple[str, str]]:
    """What is wrong with the answers to what the features brought: to each section and each command."""
    run(copy, "onboard", "init", "--sandbox")
    out = {name for name, owner in shipped.COMMANDS.items() if owner in names}
    # A command of a group that is out too is refused with its group: `customer show` as `customer`.
    asked: list[tuple[str, str, list[str], dict[str, str]]] = []
    asked += [(_group_in(out, name), f"onboard {name}", name.split(), {}) for name in out]
    for name, owner in shipped.SECTIONS.items():
        if owner in names:
            asked.append((name, f"[{name}]", ["status"], {f"ONBOARDING__{name.upper()}__ANY": "true"}))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        answers = pool.map(lambda one: run(copy, "onboard", *one[2], **one[3]), asked)
    for (name, what, *_), ended in zip(asked, answers, strict=True):
        if ended.returncode != 2 or f"{name}: {NOT_INSTALLED}" not in ended.stderr:
            yield what, ended.stderr


def _group_in(out: set[str], name: str) -> str:
    group = name.partition(" ")[0]
    return group if group in out else name


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m trials.without", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("features", help="names of features, with spaces between them, or all")
    parser.add_argument("--tests", nargs="+", help="the tests to run there (default: all)")
    parser.add_argument("--short", action="store_true", help="only what features add to, without the long tests")
    chosen = parser.parse_args()
    asked = chosen.features.split()
    if unknown := {*asked} - {*FEATURES.here, ALL}:
        parser.error(f"there is no feature {', '.join(sorted(unknown))}")
    names = set().union(*map(taken, asked))
    print("without", *sorted(names), flush=True)
    chosen.tests = chosen.tests or (ADDED_TO if chosen.short else ["tests"])
    tests = ("-m", "pytest", "-q", "-n", str(2 * (os.cpu_count() or 1)), "--dist", "loadscope", *chosen.tests)
    if chosen.short:
        tests += ("-k", "not postgresql", *(f"--deselect={name}" for name in LONG))
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_without(names, Path(folder))
        wrong = list(refusals(copy, names))
        print(f"the refusals: {'FAIL' if wrong else 'work'}", flush=True)
        for what, words in (
            ("the start", ("onboard", "--version")),
            ("the demo", ("onboard", "demo")),
            ("the tests", ("python", *tests)),
            ("the simulation", ("python", "-m", "trials.simulation", "--seeds", SEEDS)),
        ):
            began = time.monotonic()
            ended = run(copy, *words)
            took = f"{time.monotonic() - began:.0f} s"
            last = (ended.stdout.strip().splitlines() or [""])[-1] if what == "the tests" else ""
            print(f"{what}: {'works' if ended.returncode == 0 else 'FAILS'} in {took}  {last}".rstrip(), flush=True)
            if ended.returncode:
                wrong.append((what, ended.stdout[-5000:] + ended.stderr[-5000:]))
    for what, said in wrong:
        print(f"\n{what}:\n{said}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
