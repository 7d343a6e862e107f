"""Where the audit log's new entries are sealed: in each sweep, which now and then writes the chain's head into the log,
and at the end of each command; and what `onboard doctor` and `status` say of it.

Logs are kept elsewhere than the database. So a head in them shows whether the chain was made anew. A process that runs
for long shows it too: it looks at the head by itself, and refuses one that is older than one before.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

import click
import sqlalchemy as sa

from onboarding_worker.cli.feature_checks import FeatureCheck, Finding, failure, ok
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.foundation.clock import Clock, monotonic
from onboarding_worker.core.foundation.outage_log import Outage
from onboarding_worker.core.rules.budgets import BudgetState
from onboarding_worker.features.audit.store.sealing import REFUSED, REFUSED_FOR, NotSigned, Seals, seals_of
from onboarding_worker.reporting.standings import Standing, Standings
from onboarding_worker.reporting.store.look import Looked, Step
from onboarding_worker.reporting.store.processes import is_younger
from onboarding_worker.reporting.waits import Wait
from onboarding_worker.settings.model import Settings
from onboarding_worker.wiring.background import Ticks
from onboarding_worker.wiring.container import Parts

log = logging.getLogger(__name__)
HEAD_EVERY_SECONDS, LOOK_EVERY_SECONDS = 3600.0, 10.0


class Sealing:
    """One for each process: it remembers when it looked, and when it wrote the head."""

    def __init__(self, seals: Seals, clock: Clock) -> None:
        self._seals, self._clock = seals, clock
        self._refused = Outage(log)
        self._heads, self._looks = Ticks(HEAD_EVERY_SECONDS), Ticks(LOOK_EVERY_SECONDS)

    def step(self, *, unsealed: bool) -> None:
        """Seal what was added; now and then look at the head all the same. Raises as `seal`."""
        if self._looks.begin(monotonic()) or unsealed:
            self.seal()

    def seal(self) -> None:
        """Seal what was added. Raises sqlalchemy.exc.OperationalError during an outage of the database."""
        try:
            end = self._seals.seal()
        except NotSigned as error:
            seen = f" --head {error.seen}" if error.seen is not None else ""
            self._refused.lasts(f"{error}, so no entry is sealed: run `onboard audit verify{seen}`", monotonic())
            self._seals.refused(now=self._clock())
            return
        self._refused.over("the audit log is sealed again")
        if end is not None and self._heads.begin(monotonic()):
            log.info("audit log: its head is %s", end)


def swept(parts: Parts) -> Callable[[Looked], None]:
    sealing = Sealing(parts.once(seals_of), parts.clock)
    return lambda looked: sealing.step(unsealed=Step.AUDIT in looked.steps)


def seal_after_command(parts: Parts) -> None:
    """Seal what the command has added. If that fails now, the next command or sweep does it."""
    try:
        if parts.once(seals_of).seal() is not None and parts.restored is not None:
            parts.restored.mark(now=parts.clock(), at_once=True)
    except NotSigned as error:
        click.echo(f"warning: {error}: `onboard audit verify` says what is wrong", err=True)
    except sa.exc.SQLAlchemyError:
        log.debug("the audit log was not sealed at the command's end")


def check(parts: Parts) -> Iterator[Finding]:
    """The end of the audit log's chain. `onboard audit verify` reads all of it."""
    from onboarding_worker.features.audit.store.reading import AuditLog

    found = AuditLog(parts.database, parts.keyring).verify_end(1000)
    for problem in found.problems:
        yield failure("audit log", problem, "`onboard audit verify`, then docs/features/audit.md")
    if found.is_whole and not found.end.number:
        yield ok("audit log", "no entry is sealed yet")
    elif found.is_whole:
        entries = "entry fits" if found.entries == 1 else f"{found.entries:,} entries fit"
        yield ok("audit log", f"its head is signed, and its last {entries}")


CHECK = FeatureCheck(check, of_database=True)


def _standing(_settings: Settings, database: Database, _states: Mapping[str, BudgetState], now: datetime) -> Standing:
    if not is_younger(database, REFUSED, than=REFUSED_FOR, now=now):  # who refuses the head says so every few seconds
        return Standing([], {}, [])
    why = "the audit log is not sealed: its head is gone, not signed, or older than before; the workers' log says which"
    return Standing([], {}, [Wait("audit", "", why, "onboard audit verify")])


STANDINGS = Standings(_standing)
