"""`onboard customer find`: it is typed while a customer is on the phone, so it loads what finds customers alone."""

import subprocess
import sys

ACTS = {
    "onboarding_worker.features.privacy.store.removals",
    "onboarding_worker.features.privacy.store.subject_requests",
    "onboarding_worker.features.service_desk.store.desk",
}


def test_finding_loads_nothing_of_what_the_desk_does_and_erases():
    call = "import sys; from onboarding_worker.cli.registry import COMMANDS\n"
    call += "from onboarding_worker.core.foundation.features import loaded\n"
    call += f"loaded(COMMANDS['customer find'].place); print(sorted({ACTS} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=True)

    assert ended.stdout == "[]\n"


def test_the_modules_that_finding_does_not_load_exist():
    call = f"import importlib\nfor name in {sorted(ACTS)}: importlib.import_module(name)"
    assert subprocess.run([sys.executable, "-c", call], check=False).returncode == 0
