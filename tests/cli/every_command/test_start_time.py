"""`onboard --help`: which packages it loads, and how long it takes beside loading Click alone."""

import resource
import subprocess
import sys

from tests.desk.desk import ONBOARD

# Measured: 2.0. Any of the packages that the commands load makes it 10 or more.
MOST = 4.0
TIMES = 7


def cpu_seconds(*command: str) -> float:
    """The least processor time of some runs: what other processes do in between does not count."""

    def used() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return children.ru_utime + children.ru_stime

    spent = []
    for _ in range(TIMES):
        before = used()
        subprocess.run(command, check=True, capture_output=True)
        spent.append(used() - before)
    return min(spent)


def test_help_loads_click_and_nothing_else_that_is_installed():
    call = "import sys; sys.argv[1:] = ['--help']\ntry:\n  from onboarding_worker.cli import main; main()\nfinally:\n"
    # Debian's own interpreter has a `sitecustomize`.
    call += "  own = {*sys.stdlib_module_names, 'sitecustomize'}\n"
    call += "  loaded = {name.partition('.')[0] for name in sys.modules} - own\n"
    call += "  print(sorted(name for name in loaded if not name.startswith('_')), file=sys.stderr)"
    ended = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stderr) == (0, "['click', 'onboarding_worker']\n")


def test_help_takes_little_more_than_loading_click():
    ratio = cpu_seconds(ONBOARD, "--help") / cpu_seconds(sys.executable, "-c", "import click")

    assert ratio < MOST
