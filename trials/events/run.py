"""One run of events, from empty servers to the checks. docs/inside/trials.md describes the run and the checks."""

import contextlib
import dataclasses
import json
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from trials.events.aftermath import Aftermath, kept, read, refused
from trials.events.event import Message
from trials.events.programme import drawn
from trials.events.promises import broken
from trials.events.wires import UNREACHABLE, Wire, posted, wire
from trials.evidence import gather
from trials.kept_counts import untrue_counts_at
from trials.leaks import leaks
from trials.processes import Process, kill_group
from trials.servers import Postgres, RabbitMq, Redis, Server, answers, free_port, until
from trials.stage import Stage

KEY = "a-key-of-the-senders-of-the-events"
STORED = "select count(*) as number from inbox"
# A job whose invitation waits for half an hour is finished for this run.
LEFT = """
select
  (select count(*) from job where joins is null
     and (state in ('waiting', 'working') or (state = 'issued' and invite_at is null)))
  + (select count(*) from invitation
     where state = 'working' or (state = 'waiting' and due_at < now() + interval '1 minute'))
  + (select count(*) from outbox) as number
"""
STUCK = {
    "jobs": "select account, state, reason, detail, due_at, joins is null as leads, count(*) from job"
    " where state in ('waiting', 'working', 'issued') group by 1, 2, 3, 4, 5, 6 order by 7 desc limit 10",
    "invitations": "select channel, state, reason, due_at, count(*) from invitation"
    " where state in ('waiting', 'working') group by 1, 2, 3, 4 order by 5 desc limit 10",
    "outbox": "select target, kind, due_at, attempts, detail, count(*) from outbox"
    " group by 1, 2, 3, 4, 5 order by 6 desc limit 10",
}


@dataclass(frozen=True)
class Plan:
    """`events` is the number of messages for the broker; `refused` of them (by default 1 %) are not events."""

    seed: int
    events: int = 20_000
    broker: str = "amqp"
    consumers: int = 2
    prefetch: int = 200
    refused: int | None = None

    @property
    def patience(self) -> float:
        """Seconds after which unfinished work counts as stuck: far longer than needed."""
        return 120 + self.events / 20


@dataclass
class Outcome:
    """The result of one run."""

    plan: Plan
    wrong: list[str]
    line: str
    folder: str = ""


@dataclass
class Scene:
    """The processes and servers of a run."""

    plan: Plan
    stage: Stage
    postgres: Postgres
    broker: Server
    wire: Wire
    consumers: list[Process] = field(default_factory=list)
    helpers: list[Process] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    struck: int = 0
    unconfirmed: int = 0

    def start_consumer(self) -> None:
        self.consumers.append(self.stage.start("bus"))

    def kill_consumer(self) -> None:
        kill_group(self.consumers.pop(0))
        self.start_consumer()

    def restart_database(self) -> None:
        self.postgres.stop_at_once()
        self.postgres.start()

    def kill_broker(self) -> None:
        self.broker.kill()
        self.broker.start()

    def stored(self) -> int:
        return self.number(STORED)

    def number(self, query: str) -> int:
        """The query's number; -1 while the database cannot be used."""
        try:
            return int(self.ask(query)[0]["number"])
        except psycopg.OperationalError:
            return -1

    def ask(self, query: str) -> list[dict[str, Any]]:
        with psycopg.connect(self.postgres.dsn, connect_timeout=5, row_factory=dict_row) as connection:
            return connection.execute(query.encode()).fetchall()

    def has_lost_one(self) -> bool:
        return any(self.ended_by_themselves())

    def ended_by_themselves(self) -> Iterable[str]:
        for process in (*self.consumers, *self.helpers):
            if process.poll() is not None:
                yield f"no_process_ends_by_itself: a process ended with {process.returncode}"


@dataclass
class Strike:
    """A blow after this share of the events is stored."""

    at: float
    blow: Callable[[Scene], None]


BEFORE = (Strike(0.1, Scene.kill_consumer), Strike(0.35, Scene.kill_consumer), Strike(0.6, Scene.restart_database))
DURING = (Strike(0.25, Scene.kill_consumer), Strike(0.6, Scene.kill_broker))


def run(plan: Plan) -> Outcome:
    """Run once. If there are complaints, the folder is kept."""
    with Stage(f"onboarding-events-{plan.seed}-") as stage:
        wrong: list[str] = []
        line = f"seed {plan.seed} {plan.broker}: the run did not end"
        try:
            with contextlib.closing(servers_of(plan, stage)) as broker:
                broker.start(wait=False)  # RabbitMQ starts more slowly than the other servers together
                with Postgres(stage.folder / "postgresql") as postgres:
                    line, wrong = _played(plan, stage, postgres, broker)
        except (RuntimeError, psycopg.Error, *UNREACHABLE) as error:
            wrong.append(f"the run itself failed: {type(error).__name__}: {error}")
        finally:
            for data in ("postgresql/data", "rabbitmq/mnesia"):
                shutil.rmtree(stage.folder / data, ignore_errors=True)
        if wrong:
            stage.keep = True
            (stage.folder / "wrong.txt").write_text("\n".join([line, *wrong]) + "\n")
        return Outcome(plan, wrong, line, str(stage.folder))


def servers_of(plan: Plan, stage: Stage) -> Server:
    if plan.broker == "amqp":
        return RabbitMq(stage.folder / "rabbitmq")
    return Redis(stage.folder / "redis", keeps=True)


def set_up(plan: Plan, stage: Stage, postgres: Postgres, broker: Server) -> Scene:
    """The scene with the sandbox, the configuration and the schema; no consumer runs yet."""
    stage.play(["--seed", str(plan.seed)])
    stage.environ["EVENTS_KEY"] = KEY
    stage.configure(
        {
            "database.url": postgres.url,
            "broker.url": broker.url,
            "bus.url": broker.url,
            "bus.prefetch": str(plan.prefetch),
            "bus.plain": "onboarding.requested",
            "web.senders.signup.keys": '[{ env = "EVENTS_KEY" }]',
            "web.senders.signup.queues": '["onboarding.requests"]',
            "web.senders.signup.customers": "all",
            "web.event_limit": "1000/second",
        }
    )
    stage.run("db", "upgrade")
    broker.wait()
    return Scene(plan, stage, postgres, broker, wire(broker.url))


def _played(plan: Plan, stage: Stage, postgres: Postgres, broker: Server) -> tuple[str, list[str]]:
    trap = stage.folder / "unpickled"
    now = datetime.now(UTC)  # noqa: TID251 -- the producers' clock
    redis = plan.broker == "redis"
    programme = drawn(plan.events, plan.seed, now=now, trap=trap, redis=redis, refused=plan.refused)
    scene = set_up(plan, stage, postgres, broker)
    port = free_port()
    scene.helpers.append(stage.start("web", "--bind", f"127.0.0.1:{port}"))
    for _ in range(plan.consumers):
        scene.start_consumer()
    until(lambda: scene.wire.ready() or scene.has_lost_one(), "the consumers have declared their queue")
    until(lambda: answers(port) or scene.has_lost_one(), "the web answers")
    if lost := list(scene.ended_by_themselves()):
        raise RuntimeError("; ".join(lost))
    scene.wire.listen()
    began = time.monotonic()
    _publish(scene, programme.before, len(programme.events_before), BEFORE)
    stored = time.monotonic()
    scene.helpers += [stage.start("worker"), stage.start("beat")]
    with Aside(lambda: posted(port, KEY, programme.posted)) as posting:
        _publish(scene, programme.during, len(programme.all_events), DURING)
    refusals = posted(port, KEY, programme.refused_over_http)
    _settle(scene, len(programme.refused))
    ended = time.monotonic()
    listed = json.loads(stage.run("bus", "dead", "list", "--json", "--limit", "10000", speaks=True))
    scene.wrong += stage.end_warmly([*scene.helpers, *scene.consumers]) + stage.left_behind()
    case = Aftermath(
        programme,
        gather(scene.ask, stage.url, []),
        left=scene.wire.left(),
        dead=refused(stage.folder / "onboarding.toml", {**os.environ, **stage.environ}, programme),
        notices=scene.wire.notices(),
        listed=sum(bool(one["reason"]) for one in listed["events"]),
        published=read(scene.wire.published()),
        answers=posting.result(),
        refusals=refusals,
        trapped=trap.exists(),
        struck=scene.struck,
        unconfirmed=scene.unconfirmed,
        **kept(scene.ask),
    )
    wrong = [*scene.wrong, *broken(case), *leaks(stage.logs, case.evidence), *untrue_counts_at(postgres.url)]
    if wrong:
        (stage.folder / "evidence.json").write_text(json.dumps(dataclasses.asdict(case.evidence), indent=0))
    return summary(case, plan, before=stored - began, during=ended - stored), wrong


class Aside:
    """A function that runs in its own thread. `result` raises what the function raised."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self._act = act
        self._result: Any = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run)

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> Any:
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result

    def _run(self) -> None:
        try:
            self._result = self._act()
        except Exception as error:
            self._error = error

    def __enter__(self) -> "Aside":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._thread.join()


def _publish(scene: Scene, messages: Sequence[Message], expected: int, strikes: Sequence[Strike]) -> None:
    """Publish the messages, strike meanwhile, and wait until `expected` events are stored and the queue is empty.

    If all events are stored before a strike, it hits idle consumers, which must survive it too.
    """
    before, due = scene.stored(), list(strikes)
    deadline = time.monotonic() + scene.plan.patience
    with Aside(lambda: scene.wire.publish(messages)) as publishing:
        while time.monotonic() < deadline:
            stored = scene.stored()
            everything = publishing.is_done and stored >= expected
            if due and (everything or stored - before >= due[0].at * (expected - before)):
                due.pop(0).blow(scene)
                scene.struck += 1
            elif everything and _read(scene.wire.left) == 0:
                break
            for complaint in scene.ended_by_themselves():
                scene.wrong.append(complaint)
                return
            time.sleep(0.02)
        else:
            scene.wrong.append(
                f"they_are_stored: {scene.stored()} of {expected} events, {_read(scene.wire.left)} messages left"
            )
    scene.unconfirmed += publishing.result()


def _read(look: Callable[[], int]) -> int:
    """The number; -1 while the broker cannot be reached."""
    try:
        return look()
    except UNREACHABLE:
        return -1


def _settle(scene: Scene, refused: int) -> None:
    """Wait until no work is left and at least `refused` notices are in the dead queue."""
    deadline = time.monotonic() + scene.plan.patience
    while time.monotonic() < deadline and (scene.number(LEFT) or _read(scene.wire.number_dead) < refused):
        time.sleep(0.1)
    if scene.number(LEFT):
        for what, query in STUCK.items():
            scene.wrong += [f"it_comes_to_an_end: {what}: {row}" for row in scene.ask(query)]
    scene.wrong += scene.ended_by_themselves()


def summary(case: Aftermath, plan: Plan, *, before: float, during: float) -> str:
    """One line with the facts of the run."""
    states = Counter(job.state for job in case.evidence.jobs)
    outcomes = Counter(str(row["outcome"]) for row in case.inbox)
    facts = {
        "messages": plan.events,
        "events": len(case.inbox),
        "ignored": outcomes["ignored"],
        "refused": len(case.programme.refused),
        "dead": len(case.dead),
        "jobs": len(case.evidence.jobs),
        "invited": states["invited"],
        "waiting for later": states["issued"],
        "cancelled": states["cancelled"],
        "mails": len(case.evidence.received.mails),
        "texts": len(case.evidence.received.texts),
        "published": len(case.published),
        "published again": len(case.published) - len({one.get("id") for one in case.published}),
        "posted": len(case.answers),
        "struck": case.struck,
        "seconds to store": round(before),
        "and to work": round(during),
    }
    line = ", ".join(f"{name} {number}" for name, number in facts.items())
    return f"seed {plan.seed} {plan.broker} {plan.consumers} consumers: {line}"
