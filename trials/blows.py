"""The blows that strike a run: faults at random times, each repaired after a while.

The blows, their order and their times come from a seed before the run begins. What the run does at the moment of a
blow does not, because the work is not deterministic.
"""

import contextlib
import heapq
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from amqp.exceptions import AMQPError
from celery import Celery
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from onboarding_worker.core.foundation.clock import system_clock as now
from onboarding_worker.runtime.celery_settings import configure, name_of
from onboarding_worker.settings.model import Settings
from onboarding_worker.settings.queue_names import INVITE, ISSUE, QUEUES, SWEEP
from trials.case import ENDPOINTS, Restore
from trials.customers import Listed
from trials.evidence import logged
from trials.processes import Process, kill_group
from trials.producer import Producer
from trials.servers import Postgres, Server, until
from trials.stage import Stage

ACCOUNTS = ("kyc", "kyc-lt", "kyb", "au", "au-new")
CHANNELS = ("email", "sms")
PROCESSES = {"worker": 3, "beat": 2, "bus": 2}  # the second beat by mistake
JOURNAL = "onboarding.journal"
STARTS = 300.0  # seconds: all processes start at once, and a busy machine needs a minute for the first
LOOKS_AROUND = 3.0  # seconds that a person takes after a restore, while all processes run and nothing may be sent
TIMES_SENT = 20
PATIENCE = 3.0  # seconds: RabbitMQ waits far longer for a stopped worker to close its connection
WAITING = "select customer_id from job where state = 'waiting'"
# The errors of a broker that is stopping or starting.
DOWN_ERRORS = (OSError, KombuError, AMQPError, RedisError)
# A few seconds at most: the struck process comes back while the rest of the run goes on.
DOWNTIME = (0.3, 3.0)


@dataclass(frozen=True)
class Strike:
    """A blow to come: the seconds after the blow before it, its name, and the seconds until it is repaired."""

    after: float
    blow: str
    downtime: float


def draw(seed: int, number: int, *, seconds: float) -> list[Strike]:
    """`number` blows over about `seconds`: all kinds in a random order, repeated until there are enough."""
    chance = random.Random(seed)
    blows: list[str] = []
    while len(blows) < number:
        blows += chance.sample(list(BLOWS), len(BLOWS))
    every = seconds / max(number, 1)
    return [Strike(chance.uniform(0.3, 1.7) * every, blow, chance.uniform(*DOWNTIME)) for blow in blows[:number]]


@dataclass
class Target:
    """The processes of a run, by command; `stopped` are those that are stopped (SIGSTOP)."""

    stage: Stage
    postgres: Postgres
    broker: Server
    settings: Settings
    pool: str
    lease: float  # seconds
    chance: random.Random  # chooses which process is struck
    listed: Sequence[Listed]
    signups: Sequence[Listed]  # events ask for these, over about so many seconds
    seconds: float
    producers: list[Producer] = field(default_factory=list)
    running: dict[str, list[Process]] = field(default_factory=lambda: {name: [] for name in PROCESSES})
    stopped: set[int] = field(default_factory=set)
    stops: int = 0  # how often a worker was stopped (SIGSTOP)
    restores: list[Restore] = field(default_factory=list)
    uncounted: int = 0  # credits of the capped account that a restored database does not count
    notes: list[str] = field(default_factory=list)
    _later: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def note(self, what: str) -> None:
        """Record what was done, with the seconds since the run began."""
        self.notes.append(f"  {time.monotonic() - self._began:6.1f} s  {what}")
        print(self.notes[-1], flush=True)

    def start(self, name: str) -> None:
        self.running[name].append(self.stage.start(name, *(("--pool", self.pool) if name == "worker" else ())))

    def start_all(self) -> None:
        for name, number in PROCESSES.items():
            for _ in range(number):
                self.start(name)

    def start_producer(self) -> None:
        chance = random.Random(self.chance.random())
        self.producers.append(Producer(self.broker.url, self.signups, seconds=self.seconds, chance=chance))
        self.producers[-1].start()

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._later, (time.monotonic() + seconds, len(self.notes), what))

    def tick(self) -> None:
        """Run the repairs that are due now."""
        while self._later and self._later[0][0] <= time.monotonic():
            heapq.heappop(self._later)[2]()

    @property
    def whole(self) -> bool:
        """True if every struck process is repaired."""
        return not self._later

    def put_right(self) -> None:
        while self._later:
            self.tick()
            time.sleep(0.05)

    def ended_by_themselves(self) -> list[tuple[str, str]]:
        """The name of each process that ended by itself, and a complaint; the process is removed from the run."""
        found = []
        for name, processes in self.running.items():
            for process in [one for one in processes if one.poll() is not None]:
                processes.remove(process)
                found.append((name, f"nothing_ends_by_itself: {name} {process.pid} ended with {process.returncode}"))
                kill_group(process)
        return found

    def pick(self, name: str) -> Process | None:
        there = [process for process in self.running[name] if process.pid not in self.stopped]
        return self.chance.choice(there) if there else None

    def wake_ups(self) -> Celery:
        app = Celery(set_as_current=False)
        configure(app, lambda: self.settings)
        app.conf.update(broker_connection_timeout=2)
        return app


def kill(target: Target, downtime: float, *, name: str, by: Callable[[Process], None] = kill_group) -> None:
    process = target.pick(name)
    if process is not None:
        target.note(f"{name} {process.pid}: kill -9{', only the parent' if by is kill_parent else ''}")
        target.running[name].remove(process)
        by(process)
        target.later(downtime, lambda: target.start(name))


def kill_parent(process: Process) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def take_down(target: Target, downtime: float, *, server: str, how: str, by: Callable[[Any], None]) -> None:
    """Take the target's `broker` or `postgres` down for a while."""
    struck: Server = getattr(target, server)
    if struck.process is not None:
        target.note(f"{struck.name}: {how} for {downtime:.1f} s")
        by(struck)
        target.later(downtime, lambda: struck.start(wait=False))


def cut_connections(target: Target, downtime: float) -> None:
    clients = "backend_type = 'client backend' and pid <> pg_backend_pid()"
    cut_them = f"select pg_terminate_backend(pid) from pg_stat_activity where {clients}"
    with contextlib.suppress(psycopg.Error), psycopg.connect(target.postgres.dsn, connect_timeout=2) as connection:
        cut = connection.execute(cut_them).fetchall()
        target.note(f"PostgreSQL: {len(cut)} connections cut")


def double_wake_ups(target: Target, downtime: float) -> None:
    """Send every wake-up many times, in a random order."""
    if not target.broker.ready():
        return target.later(1, lambda: double_wake_ups(target, downtime))
    wake_ups: list[tuple[str, tuple[Any, ...]]] = [(ISSUE, (name,)) for name in ACCOUNTS]
    wake_ups += [(INVITE, (name,)) for name in CHANNELS] + [(SWEEP, ())]
    sent, cut_short = 0, ""
    with target.wake_ups() as app:
        try:
            for name, arguments in target.chance.sample(wake_ups * TIMES_SENT, len(wake_ups) * TIMES_SENT):
                queue = name_of(app, name)
                app.send_task(queue, args=arguments, queue=queue, retry=False)
                sent += 1
        except DOWN_ERRORS as error:
            cut_short = f", then {type(error).__name__}"
    return target.note(f"{sent} extra wake-ups sent{cut_short}")


def drop_wake_ups(target: Target, downtime: float) -> None:
    if not target.broker.ready():
        return target.later(1, lambda: drop_wake_ups(target, downtime))
    dropped = 0
    with target.wake_ups() as app, contextlib.suppress(*DOWN_ERRORS), app.connection_for_write() as connection:
        for name in QUEUES:
            dropped += connection.default_channel.queue_purge(name_of(app, name)) or 0
    return target.note(f"{dropped} wake-ups dropped")


def pause_worker(target: Target, downtime: float) -> None:
    worker = target.pick("worker")
    if worker is not None:
        seconds = target.lease + downtime
        target.note(f"worker {worker.pid}: cut off (SIGSTOP) for {seconds:.1f} s, its lease is {target.lease:g} s")
        target.stopped.add(worker.pid)
        target.stops += 1
        os.killpg(worker.pid, signal.SIGSTOP)
        target.later(seconds, lambda: _wake(target, worker))


def _wake(target: Target, worker: Process) -> None:
    target.note(f"worker {worker.pid}: back (SIGCONT)")
    target.stopped.discard(worker.pid)
    os.killpg(worker.pid, signal.SIGCONT)


def restore_dump(target: Target, downtime: float) -> None:
    """Dump the database. After a while end all processes, restore it, and do what docs/how-to/backup.md says."""
    if not target.postgres.ready():
        return target.later(1, lambda: restore_dump(target, downtime))
    since = now()
    dump = target.postgres.dump()
    waiting = {row["customer_id"] for row in target.postgres.rows(WAITING)}
    # The last of these: without the journal they would be written to long after the restore.
    leaving = [one for one in target.listed if one.channel == "email" and one.customer_id in waiting][-2:]
    target.note(f"PostgreSQL: dumped, to be restored after {downtime:.1f} s")
    return target.later(downtime, lambda: _restore(target, dump, since, leaving))


def _restore(target: Target, dump: Path, since: datetime, leaving: Sequence[Listed]) -> None:
    stage, postgres = target.stage, target.postgres
    target.put_right()
    postgres.wait()
    target.broker.wait()
    for one in leaving[1:]:
        stage.run("customer", "erase", one.customer_id, "--yes")
    stage.run("suppress", *(one.email for one in leaving[:1]), "nobody@example.com")
    marked = stage.folder / f"{JOURNAL}.mark"
    taken = dump.stat().st_mtime
    until(lambda: marked.exists() and marked.stat().st_mtime > taken, "the journal knows more than the dump", STARTS)
    for process in (one for processes in target.running.values() for one in processes):
        kill_group(process)
    target.running = {name: [] for name in PROCESSES}
    ended = now()
    postgres.restore(dump)
    # The database does not count what the provider was paid for since: the person takes it from the cap.
    opened = sum(call["processed"] for call in logged(stage.url) if call["endpoint"] == ENDPOINTS["kyb"])
    used = sum(row["credits_used"] for row in postgres.rows("select credits_used from budget where name = 'kyb'"))
    target.uncounted = max(opened - used, 0)
    (cap,) = target.settings.accounts["kyb"].credits
    stage.configure({"database.url": postgres.url, "accounts.kyb.credits": str(cap.count - target.uncounted)})
    target.start_all()
    until(lambda: bool(postgres.rows("select 1 from emergency_stop")), "the restored database stops everything", STARTS)
    time.sleep(LOOKS_AROUND)
    stage.run("customer", "reapply")
    resumed = now()
    stage.run("resume", "--all")
    target.start_producer()  # asks for all customers again: which events are lost is not known
    target.restores.append(Restore(since, ended, resumed, frozenset(one.customer_id for one in leaving)))
    target.note(
        f"PostgreSQL: restored; stopped for {(resumed - ended).total_seconds():.1f} s, {len(leaving)} left alone"
    )


Blow = Callable[[Target, float], None]
BLOWS: dict[str, Blow] = {
    "kill-worker": partial(kill, name="worker"),
    "kill-parent": partial(kill, name="worker", by=kill_parent),
    "kill-beat": partial(kill, name="beat"),
    "kill-consumer": partial(kill, name="bus"),
    "stop-broker": partial(take_down, server="broker", how="stopped", by=lambda broker: broker.stop(patience=PATIENCE)),
    "kill-broker": partial(take_down, server="broker", how="kill -9,", by=Server.kill),
    "restart-database": partial(
        take_down, server="postgres", how="stopped in immediate mode", by=Postgres.stop_at_once
    ),
    "cut-connections": cut_connections,
    "double-wake-ups": double_wake_ups,
    "drop-wake-ups": drop_wake_ups,
    "pause-worker": pause_worker,
    "restore-dump": restore_dump,
}
