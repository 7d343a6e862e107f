"""Builds every part once, from the configuration: the one place where the parts meet.

Commands, `wiring.opening`, `wiring.runner` and the runtime hold `Parts`; everything else is handed what it uses.
"""

import logging
import os
import random
import secrets
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import sqlalchemy as sa

from onboarding_worker.core.database.audit_entries import Act
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.journal import Journal
from onboarding_worker.core.database.outages import reason
from onboarding_worker.core.foundation.clock import Clock, ProcessClock
from onboarding_worker.core.foundation.features import Hook
from onboarding_worker.core.model.metrics import Meters
from onboarding_worker.core.rules.call_outcomes import SecondLook
from onboarding_worker.lists.importing.intake import Intake
from onboarding_worker.lists.traces import NO_TRACES, Traces
from onboarding_worker.providers.account import AccountUnusable
from onboarding_worker.providers.contract import Provider, build_provider
from onboarding_worker.providers.parameters import check_parameters
from onboarding_worker.reporting.batch_report import Reporting
from onboarding_worker.reporting.operation_report import Operation
from onboarding_worker.reporting.store.processes import Heartbeat
from onboarding_worker.reporting.store.restored import Restored
from onboarding_worker.settings.model import Settings
from onboarding_worker.settings.policies import check_leases, mail_domains, orphan_rules
from onboarding_worker.settings.problems import SettingsError
from onboarding_worker.wiring import account_budgets
from onboarding_worker.wiring.os_user import os_user
from onboarding_worker.wiring.store.roles import may_write
from onboarding_worker.wiring.stores import Stores
from onboarding_worker.wiring.watching import COUNTS, TELLERS, TRACES, observing_of

if TYPE_CHECKING:
    from onboarding_worker.core.work.kinds import FirstLinks
    from onboarding_worker.reporting.store.look import Looked
    from onboarding_worker.senders.contract import Sender

log = logging.getLogger(__name__)
# How many of a process's connections its threads use, and how many the transactions on its loop (PostgreSQL's only).
DATABASE_THREADS = 3
ON_THE_LOOP = 5
SET_CLOCK_EVERY = timedelta(seconds=10)
END_SECONDS = 1.0  # how long an end waits for a measurement under way: the database may hang

# Called once for each process. What it returns makes the step, in each sweep: it gets what is due.
SweepStep: TypeAlias = "Callable[[Parts], Callable[[Looked], object]]"
# The feature `audit` seals what was added to the log.
SWEEP_STEPS: Hook[SweepStep] = Hook("SWEEP_STEPS")


def build_providers(settings: Settings) -> dict[str, Provider]:
    """The providers by account. Raises SettingsError with all problems of all accounts."""
    providers, problems = {}, []
    for name, account in settings.accounts.items():
        try:
            providers[name] = build_provider(account)
        except AccountUnusable as error:
            problems.append(str(error))
            continue
        problems += [
            f"accounts.{name}.parameters.{found.column.partition('.')[2] or found.column}: {found.problem}"
            + (f"; {found.hint}" if found.hint else "")
            for found in check_parameters(account.provider, account.parameters, account.dialect)
        ]
    if problems:
        raise SettingsError(problems)
    return providers


class Timekeeper:
    """Keeps the process's time that of the database, for all processes that write times. At intervals, in a thread: a
    process may wait elsewhere for a long time."""

    def __init__(self, database: Database, clock: ProcessClock, *, every: timedelta = SET_CLOCK_EVERY) -> None:
        self._database = database
        self._clock = clock
        self._every = every
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Set the clock now, and go on until `close`. Raises OperationalError while the database cannot be used."""
        self._database.set_clock(self._clock)
        if self._thread is None:
            self._go_on()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The thread does not run within: a fork is made there."""
        runs = self._thread is not None
        self.close()
        yield
        if runs:
            self._go_on()

    def _go_on(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, args=(self._ended,), name="timekeeper", daemon=True)
        self._thread.start()

    def _keep(self, ended: threading.Event) -> None:
        while not ended.wait(self._every.total_seconds()):
            try:
                self._database.set_clock(self._clock)
            except sa.exc.SQLAlchemyError as error:  # the time goes on from the last anchor
                log.debug("the clock was not set: %s; trying again in %d s", reason(error), self._every.seconds)

    def close(self) -> None:
        """End the thread. Call it before the database is closed."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(END_SECONDS)


class Parts(Stores):
    """All parts of one process. Make it after a fork, never before: it holds connections.

    The store's objects, and what the configuration says, are in `Stores`. Here follow, in this order: what comes in,
    the timer's work, reports, the process itself.
    """

    knows_keys = True  # False: a new key stands for those of the configuration, and nothing stored is decrypted
    _timekeeper: Timekeeper | None = None
    on_the_loop = 0  # how many transactions at once; 0: they run in threads

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        database_clock: Clock | None = None,
        jitter: Callable[[], float] = random.random,
        senders: "Mapping[str, Sender] | None" = None,
        act: Act | None = None,
        meters: Meters | None = None,
        traces: Traces | None = None,
    ) -> None:
        """Raises SettingsError when the configuration names what cannot work. Opens no connection yet.

        `clock` is the process's time, and `database_clock` the database's own time, for tests. `act`: what the audit
        log says of changes; None: the person who runs this process, without a command. `meters`: those of other parts
        in this process. `traces`: for tests; None: as the configuration says.
        """
        providers = build_providers(settings)
        check_leases(settings)
        keyring = settings.encryption.keyring()
        observing = observing_of(settings)
        self.targets = [target for one in observing for target in one.targets]
        connections = DATABASE_THREADS + ON_THE_LOOP + len(self.targets) + 1  # the last is the timekeeper's
        clock = clock or ProcessClock()
        name = settings.privacy.journal
        self.journal = Journal(settings.directory / name, clock) if name is not None else None
        database = Database(
            settings.database.url,
            connections=connections,
            tls=settings.database.protection,
            observers=observing,
            act=act or Act(os_user().full, "python"),
            journal=self.journal,
        )
        self.restored = Restored(database, self.journal) if self.journal is not None else None
        # What no other process could undo asks the database for its time: ends of leases and sessions, and erasure.
        self.database_clock: Clock = database_clock or clock
        if isinstance(clock, ProcessClock) and not database.is_sqlite:
            self.database_clock = database_clock or database.now
            self._timekeeper = Timekeeper(database, clock)
            if database_clock is None:
                database.trust_its_time(clock)
                self.on_the_loop = ON_THE_LOOP  # not where a test sets the time: its loop waits for nothing
        super().__init__(settings, database, keyring, providers, senders, clock=clock, jitter=jitter)
        self.meters = meters or Meters()
        self._traces = traces
        self.first_links: dict[str, FirstLinks] = {}  # by account
        self.second_looks: dict[str, SecondLook] = defaultdict(SecondLook)  # by account and by sender
        # The end is random: containers with the same host name may each number their processes from 1.
        self.owner = f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(3)}"

    @property
    def intake(self) -> Intake:
        """What rows of lists, and events, are judged by."""
        return Intake(
            clock=self.clock,
            database_clock=self.database_clock,
            columns=self.settings.import_.mapping,
            values=self.settings.import_.values,
            routes=self.routes,
            accounts=self.accounts,
            providers=self.providers,
            channels=self.channels,
            templates=lambda: self.templates.names,
            brands=self.settings.brands,
            mail_domains=mail_domains(self.settings),
            hours=self.hours,
            texted=self.contact.countries,
            lacking=self.lacking_columns,
            paces=lambda: account_budgets.paces(self, now=self.clock()),
            prefilled=[name for name, account in self.accounts.items() if account.prefill == "all"],
            traces=lambda: self.traces,
            rights=self.settings.rights.of,
        )

    @cached_property
    def tellers(self) -> Sequence[Callable[[], object]]:
        needs = lambda: self.operation.report().attention  # noqa: E731
        return [one(self.settings, self.database, needs, self.database_clock) for one in TELLERS.offered()]

    @cached_property
    def sweep_steps(self) -> "Sequence[Callable[[Looked], object]]":
        return [one(self) for one in SWEEP_STEPS.offered()]

    @property
    def reporting(self) -> Reporting:
        """What is reported of a batch, and when it ends."""
        return Reporting(
            clock=self.clock,
            database=self.database,
            facts=self.facts,
            rules=self.budget_rules,
            takeovers=self.takeovers,
            orphans=orphan_rules(self.providers),
            settings=self.settings,
            contact=self.contact,
            allowed_from={name: provider.reissue_at for name, provider in self.providers.items()},
            plan=self.batches.plan,
        )

    @property
    def operation(self) -> Operation:
        """Which processes run, what needs a person, and how accounts and senders stand."""
        return Operation(
            clock=self.clock,
            database=self.database,
            rules=self.budget_rules,
            takeovers=self.takeovers,
            key_ids=self.keyring.ids if self.knows_keys else None,
            settings=self.settings,
        )

    @property
    def traces(self) -> Traces:
        """What records spans. Built when first needed: it has a thread."""
        if self._traces is None:
            self._traces = next((tracer.open() for tracer in TRACES.offered()), NO_TRACES)
        return self._traces

    def heartbeat(self, kind: str, *, batch_id: int | None = None) -> Heartbeat:
        """Says in its block that this process runs. `kind` is the command; `batch_id`: it works this batch alone."""
        keys = f"{self.keyring.ids[0]} {self.keyring.digest_ids[0]}"
        return Heartbeat(
            self.processes, self.owner, self.clock, kind, store=self.store_counts, first_keys=keys, batch_id=batch_id
        )

    def store_counts(self) -> None:
        """Add what this process has counted to the counts that are kept, if any are."""
        if (kept := COUNTS.offered()) and (news := self.meters.news()):
            for counts in kept:
                counts(self.database, news)
            self.meters.stored(news)

    def ready(self) -> None:
        """Make the budgets' rows, keep the database's time, and stop all if it is an older copy. The schema must be up
        to date. PostgreSQL's role that reports finds the rows as they are."""
        if may_write(self.database):
            rules = self.budget_rules
            self.budgets.ensure([*(rule.name for rule in rules.all().values()), *rules.accounts, *self.targets])
        self.keep_time()
        if self.restored is not None:
            self.restored.begin(now=self.clock())

    def resume(self, channels: Collection[str] | None = None) -> None:
        """Let stopped accounts and senders be tried again, as `account_budgets.resume` says."""
        account_budgets.resume(self, channels, now=self.clock())

    def keep_time(self) -> None:
        """Set the clock by the database's, now and from now on, where there may be several machines."""
        if self._timekeeper is not None:
            self._timekeeper.start()

    def one_thread(self) -> AbstractContextManager[None]:
        """Within, no thread of these parts runs: a fork is made there."""
        return nullcontext() if self._timekeeper is None else self._timekeeper.paused()

    def close(self) -> None:
        if self._timekeeper is not None:
            self._timekeeper.close()
        self.database.close()
        if self._traces is not None:
            self._traces.close()
