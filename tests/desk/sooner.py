"""`onboard`, whose processes look and answer after fractions of a second where they do after seconds."""

import sys

from tests.desk.desk import Desk

SOONER = """
import asyncio
from onboarding_worker.cli import main
from onboarding_worker.runtime.process import Process
from onboarding_worker.web import server, strangers

# How often a worker looks whether the database was upgraded, and for due work that no wake-up tells of.
Process.__init__.__kwdefaults__["check_seconds"] = 0.2
# How long the answer to a refused key waits, and what was refused half-way is read on.
strangers.wait = lambda _seconds: asyncio.sleep(0)
server.LINGERING_SECONDS = 0.05
main()
"""


def sooner(desk: Desk) -> tuple[str, ...]:
    """The program to start."""
    desk.write("sooner.py", SOONER)
    return (sys.executable, "-m", "sooner")
