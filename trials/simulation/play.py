"""Plays one plan: its processes, its faults, and what is left at its end."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from trials.simulation import chance
from trials.simulation.broker import Broker
from trials.simulation.database import Databases, Observer, PostgresqlDatabases
from trials.simulation.faults import Fault
from trials.simulation.people import People
from trials.simulation.plan import STORM, Plan
from trials.simulation.process import Host, WorkerProcess, process_clock
from trials.simulation.records import Call, Life, Record
from trials.simulation.requests import Requests
from trials.simulation.setting import settings_of, templates
from trials.simulation.wire import Wire
from trials.simulation.witness import Witness
from trials.simulation.world import TooLong, World

UNTIL = 6 * 3600.0  # the latest end of a history
REVIEWED_UNTIL = 30 * 3600.0  # after a day a provider is asked about a review
CALM = STORM + 80.0  # no fault lasts longer, but for refused credentials
RESTARTS = (0.5, 5.0)  # seconds until another process starts in place of a killed one
WRONG = (0.0, 0.0, 30.0, -30.0, 3600.0, -3600.0)  # how wrong a machine's clock may be at its start


@dataclass
class History:
    """A played plan: what the outside saw, and the rows at the end."""

    plan: Plan
    record: Record
    jobs: dict[str, Any] = field(default_factory=dict)  # by customer
    open_attempts: int = 0
    begun_messages: dict[str, int] = field(default_factory=dict)  # hand-overs, by customer
    credits_used: dict[str, int] = field(default_factory=dict)  # by account
    references: dict[str, str] = field(default_factory=dict)  # of the sessions at their providers, by token
    calm_at: float = 0.0  # from then on no fault strikes, and no account refuses
    steps: int = 0
    ended_at: float = 0.0


_BEGUN_MESSAGES = """
SELECT session.customer_id, count(*) AS number FROM attempt
JOIN invitation ON invitation.id = attempt.invitation_id JOIN session ON session.id = invitation.session_id
GROUP BY session.customer_id
"""


def play(plan: Plan, databases: Databases | PostgresqlDatabases) -> History:
    logging.disable(logging.CRITICAL)
    try:
        with chance.all_from(plan.seed):
            return Simulation(plan, databases).play()
    finally:
        logging.disable(logging.NOTSET)


class Simulation:
    make_clock: Callable[[WorkerProcess], Any] = staticmethod(process_clock)  # a test without its mend replaces it

    def __init__(self, plan: Plan, databases: Databases | PostgresqlDatabases) -> None:
        self.plan = plan
        self.world = World(plan.seed)
        self.record = Record()
        self.armed: list[Fault] = []
        self.is_database_away = False
        url = databases.fresh()
        self.settings = settings_of(databases.folder, url, plan)
        self.templates = templates()
        self.observer = Observer(url)
        self.witness = Witness(self)
        self.people, self.requests, self.broker = People(self), Requests(self), Broker(self)
        self.wire = Wire(self, conflict=self.world.chance.random() < 0.3)
        self.hosts = [Host(number, self, self.world.chance.choice(WRONG)) for number in range(plan.hosts)]
        self.running: dict[int, WorkerProcess] = {}  # by host

    def play(self, until: float | None = None) -> History:
        least = REVIEWED_UNTIL if self.plan.asks_about_reviews else UNTIL
        until = until or max(least, self.plan.renews_for)
        try:
            for host in self.hosts:
                self._start(host)
            self.requests.come()
            for fault in self.plan.faults:
                self.world.later(fault.at, self._begin, fault)
            self.world.later(0.1, self.broker.beat)
            try:
                self.world.run(until, is_over=lambda: self._is_over)
            except TooLong as error:
                self.record.complaints.append(str(error))
            self.look_at_rows()
            self.witness.look("the end")
            self.record.complaints += self.observer.untrue_counts()
            return self._history()
        finally:
            for process in self.world.processes:
                process.clear_up()
            self.witness.close()
            self.observer.close()

    @property
    def is_stormy(self) -> bool:
        return self.world.elapsed < CALM

    @property
    def _is_over(self) -> bool:
        calm = not self.is_stormy and self.broker.nothing_due
        return calm and not self.people.unfinished and not self.requests.left

    @property
    def _calm_at(self) -> float:
        last, refused_until = self.record.struck_at, self.wire.unauthorized_until
        # Refused credentials are tried again with one call each five minutes: the last fault may have struck that call.
        return max(refused_until, last) + 300 if refused_until else last

    def _history(self) -> History:
        rows = self.observer.rows
        jobs = rows("SELECT customer_id, state, reason, result, account FROM job WHERE leader_id IS NULL ORDER BY id")
        return History(
            self.plan,
            self.record,
            {row.customer_id: row for row in jobs},
            rows("SELECT count(*) FROM attempt WHERE closed_at IS NULL")[0][0],
            {row.customer_id: row.number for row in rows(_BEGUN_MESSAGES)},
            {row.name: row.credits_used for row in rows("SELECT name, credits_used FROM budget")},
            {token: one.reference for token, one in self.wire.opened.items()},
            self._calm_at,
            self.world.steps,
            self.world.elapsed,
        )

    # Faults.

    def _begin(self, fault: Fault) -> None:
        self.note(f"fault: {fault}")
        fault.begin(self)

    def strike(self, point: str, process: WorkerProcess, call: Call | None = None) -> None:
        """The first fault that waits for this point strikes."""
        for fault in self.armed:
            if not process.dead and fault.point == point and fault.concerns(call):
                self.armed.remove(fault)
                self.note(f"{type(fault).__name__} strikes process {process.number}", call.customer if call else "")
                self.record.struck_at = self.world.elapsed
                self.witness.strikes()
                fault.strike(self, process, call)
                return

    def look_at_rows(self) -> None:
        self.record.wrong_rows = self.record.wrong_rows or [
            f"{wrong} at {self.world.elapsed:.1f} s" for wrong in self.observer.wrong_rows()
        ]

    def note(self, what: str, customer: str = "", detail: str = "") -> None:
        self.record.note(self.world.elapsed, what, customer, detail)

    def database_away(self, seconds: float) -> None:
        self.is_database_away = True
        self.record.outages.append((self.world.elapsed, self.world.elapsed + seconds))
        self.world.later(seconds, self._database_back)

    def _database_back(self) -> None:
        self.is_database_away = self.world.elapsed < max(until for _, until in self.record.outages)

    def spoil_row(self, number: int) -> None:
        """A value of the customer's row becomes one that nobody foresaw."""
        customer = self.plan.people[number].id
        self.note("row cannot be read", customer)
        self.observer.spoil(customer)

    # Processes.

    def _start(self, host: Host) -> None:
        number = len(self.record.lives)
        self.record.lives[number] = Life(number, host.number, self.world.elapsed)
        self.note(f"process {number} starts on host {host.number}, whose clock is {host.wrong_by:+.0f} s wrong")
        self.running[host.number] = process = WorkerProcess(self, host, number)
        self.world.processes.append(process)

    def died(self, process: WorkerProcess) -> None:
        self.record.lives[process.number].ended_at = self.world.elapsed
        self.note(f"process {process.number} is killed")
        self.world.later(self.world.chance.uniform(*RESTARTS), self._start, process.host)

    def kill(self, host: int) -> None:
        self.running[host].kill()

    def freeze(self, host: int, seconds: float, *, clocks_too: bool = False) -> None:
        process = self.running[host]
        if not process.dead:
            self.note(f"process {process.number} stands still for {seconds:.1f} s{', its clocks too' * clocks_too}")
            process.freeze(seconds, clocks_too=clocks_too)

    def step_clock(self, host: int, wrong_by: float) -> None:
        self.note(f"the clock of host {host} is {wrong_by:+.0f} s wrong")
        self.hosts[host].wrong_by = wrong_by

    def some_process(self) -> WorkerProcess | None:
        """A process that answers: none that stands still."""
        alive = [one for one in self.running.values() if not one.dead and not one.is_still]
        return self.world.chance.choice(alive) if alive else None
