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
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import psycopg
from amqp.exceptions import AMQPError  # type: ignore[import-untyped]
from celery import Celery
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from trials.processes import Process, kill_group
from trials.servers import Postgres, Server
from trials.stage import Stage
from worker.runtime.celery_settings import INVITE, ISSUE, QUEUES, SWEEP, configure
from worker.settings import Settings

ACCOUNTS = ("kyc", "kyc-lt", "kyb", "au", "au-new")
CHANNELS = ("email", "sms")
TIMES_SENT = 20
PATIENCE = 3.0  # seconds: RabbitMQ waits far longer for a stopped worker to close its connection
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
    """The processes of a run: `workers`, `beats` and `consumers` that run, with those that are stopped (SIGSTOP)."""

    stage: Stage
    postgres: Postgres
    broker: Server
    settings: Settings
    pool: str
    lease: float  # seconds
    chance: random.Random  # chooses which process is struck
    workers: list[Process] = field(default_factory=list)
    beats: list[Process] = field(default_factory=list)
    consumers: list[Process] = field(default_factory=list)
    stopped: set[int] = field(default_factory=set)
    stops: int = 0  # how often a worker was stopped (SIGSTOP)
    notes: list[str] = field(default_factory=list)
    _later: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def note(self, what: str) -> None:
        """Record what was done, with the seconds since the run began."""
        self.notes.append(f"  {time.monotonic() - self._began:6.1f} s  {what}")
        print(self.notes[-1], flush=True)

    def start_worker(self) -> None:
        self.workers.append(self.stage.start("worker", "--pool", self.pool))

    def start_beat(self) -> None:
        self.beats.append(self.stage.start("beat"))

    def start_consumer(self) -> None:
        self.consumers.append(self.stage.start("bus"))

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

    def ended_by_themselves(self) -> list[str]:
        """A complaint for each process that ended by itself; the process is removed from the run."""
        found = []
        for name, processes in (("worker", self.workers), ("beat", self.beats), ("bus", self.consumers)):
            for process in [one for one in processes if one.poll() is not None]:
                processes.remove(process)
                found.append(f"nothing_ends_by_itself: {name} {process.pid} ended with {process.returncode}")
                kill_group(process)
        return found

    def pick(self, processes: Iterable[Process]) -> Process | None:
        there = [process for process in processes if process.pid not in self.stopped]
        return self.chance.choice(there) if there else None

    def wake_ups(self) -> Celery:
        app = Celery(set_as_current=False)
        configure(app, lambda: self.settings)
        app.conf.update(broker_connection_timeout=2)
        return app


def kill_worker(target: Target, downtime: float) -> None:
    worker = target.pick(target.workers)
    if worker is not None:
        target.note(f"worker {worker.pid} and its children: kill -9")
        target.workers.remove(worker)
        kill_group(worker)
        target.later(downtime, target.start_worker)


def kill_parent(target: Target, downtime: float) -> None:
    worker = target.pick(target.workers)
    if worker is not None:
        target.note(f"worker {worker.pid}, only the parent: kill -9")
        target.workers.remove(worker)
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
        target.later(downtime, target.start_worker)


def kill_beat(target: Target, downtime: float) -> None:
    beat = target.pick(target.beats)
    if beat is not None:
        target.note(f"beat {beat.pid}: kill -9")
        target.beats.remove(beat)
        kill_group(beat)
        target.later(downtime, target.start_beat)


def kill_consumer(target: Target, downtime: float) -> None:
    consumer = target.pick(target.consumers)
    if consumer is not None:
        target.note(f"consumer {consumer.pid}: kill -9")
        target.consumers.remove(consumer)
        kill_group(consumer)
        target.later(downtime, target.start_consumer)


def stop_broker(target: Target, downtime: float) -> None:
    if target.broker.process is not None:
        target.note(f"{target.broker.name}: stopped for {downtime:.1f} s")
        target.broker.stop(patience=PATIENCE)
        target.later(downtime, lambda: target.broker.start(wait=False))


def kill_broker(target: Target, downtime: float) -> None:
    if target.broker.process is not None:
        target.note(f"{target.broker.name}: kill -9, for {downtime:.1f} s")
        target.broker.kill()
        target.later(downtime, lambda: target.broker.start(wait=False))


def restart_database(target: Target, downtime: float) -> None:
    if target.postgres.process is not None:
        target.note(f"PostgreSQL: stopped in immediate mode for {downtime:.1f} s")
        target.postgres.stop_at_once()
        target.later(downtime, lambda: target.postgres.start(wait=False))


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
                app.send_task(name, args=arguments, queue=name, retry=False)
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
            dropped += connection.default_channel.queue_purge(name) or 0
    return target.note(f"{dropped} wake-ups dropped")


def pause_worker(target: Target, downtime: float) -> None:
    worker = target.pick(target.workers)
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


Blow = Callable[[Target, float], None]
BLOWS: dict[str, Blow] = {
    "kill-worker": kill_worker,
    "kill-parent": kill_parent,
    "kill-beat": kill_beat,
    "kill-consumer": kill_consumer,
    "stop-broker": stop_broker,
    "kill-broker": kill_broker,
    "restart-database": restart_database,
    "cut-connections": cut_connections,
    "double-wake-ups": double_wake_ups,
    "drop-wake-ups": drop_wake_ups,
    "pause-worker": pause_worker,
}
