"""Every module can be imported: `make imports` asks this of each Python that is on the machine."""

import subprocess
import sys

from tests.suite.packages import PACKAGES
from tests.suite.waiting import ENDS_WITHIN

# A warning is an error: what this Python deprecates, a later one has no more. `__main__` runs when it is imported, and
# Alembic runs the migrations.
IMPORTS = f"""
import importlib, pkgutil
for top in {PACKAGES}:
    for module in pkgutil.walk_packages(importlib.import_module(top).__path__, f"{{top}}."):
        if not module.name.endswith(".__main__") and ".migrations." not in module.name:
            importlib.import_module(module.name)
            print(module.name)
"""


def test_every_module_can_be_imported():
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORTS], capture_output=True, text=True, timeout=ENDS_WITHIN, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.splitlines()) > len(PACKAGES)
