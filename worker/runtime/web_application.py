"""The web application: its routes, and what lives as long as it does."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from aiohttp import web

from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.foundation.features import FEATURES, Hook
from onboarding_worker.core.model.incoming import Event, EventReceipt, Received
from onboarding_worker.core.model.metrics import EVENTS, WEBHOOKS
from onboarding_worker.core.model.wakeups import Wake, WakeUp
from onboarding_worker.events.event_receiver import Receiver
from onboarding_worker.events.store.event_status import EventStatuses
from onboarding_worker.settings.model import Settings
from onboarding_worker.web.events.request_body import BODY_SECONDS, ROOM
from onboarding_worker.web.events.routes import ADDRESS, Events
from onboarding_worker.web.middlewares import TRUSTED, Proxies, as_problems, counting
from onboarding_worker.web.problems import problem
from onboarding_worker.web.readiness import Readiness
from onboarding_worker.web.server import name_server
from onboarding_worker.web.strangers import EVERY_SECONDS, Door, Strangers
from onboarding_worker.web.turns import Batcher, InThread, Waiting
from onboarding_worker.web.webhooks.routes import Processing, WebhookRoutes
from onboarding_worker.web.webhooks.sources import SENDER_SOURCES, Get, account_sources, sender_sources
from onboarding_worker.web.webhooks.store.webhooks import Arrived, process_webhooks
from onboarding_worker.wiring.container import Parts
from onboarding_worker.wiring.opening import check_keys
from onboarding_worker.wiring.sweep_steps import each_alone

log = logging.getLogger(__name__)

# Database threads: one for a chunk of events, one for a chunk of webhooks, one that processes webhooks, one that looks
# for links, and two for queries.
THREADS = 6
WORKER = Path(__file__).parents[1]
# The parts of an OpenAPI document that features add to, by their lines.
PARTS = {"paths:": "paths", "  securitySchemes:": "schemes", "  schemas:": "schemas"}
TELL_SECONDS = 10.0
CHUNKS, READINESS = web.AppKey("chunks", Batcher), web.AppKey("ready", Readiness)
WAITING = web.AppKey("waiting", Waiting)
Receive = Callable[[Sequence[Event]], Received]
CleanupContext = Callable[[web.Application], AsyncIterator[None]]


@dataclass(frozen=True)
class Shared:
    """What an application shares with the routes of features. `strangers`: the doors that cost something. `key`: opens
    what is only for looking, "": nothing does. `body_seconds`, `room`: see `app`."""

    parts: Parts
    readiness: Readiness
    in_thread: InThread
    wake: Wake
    body_seconds: float = BODY_SECONDS
    strangers: Strangers = field(default_factory=lambda: Strangers(log))
    key: str = ""
    room: int = ROOM


@dataclass(frozen=True)
class FeatureRoutes:
    """`add` adds them to an application, which has not started. `told`: a line for who starts a process on this
    machine, by its address and its key to look; "": none."""

    add: Callable[[web.Application, Shared], None]
    told: Callable[[Settings, str, str], str] = lambda _settings, _address, _key: ""


# The feature `metrics` has GET /metrics, the feature `dashboard` has GET /.
ROUTES = Hook("ROUTES", FeatureRoutes)


async def in_thread_of(threads: ThreadPoolExecutor, function: Callable[..., Any], *arguments: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(threads, function, *arguments)


def description() -> str:
    """The OpenAPI document, with that of each feature that is here: the file of the same name in its folder."""
    files = [WORKER / f"features/{name}/openapi.yaml" for name in FEATURES.here]
    theirs = [_parts_of(file) for file in files if file.exists()]
    found: list[str] = []
    for line in (WORKER / "web/openapi.yaml").read_text(encoding="utf-8").splitlines(keepends=True):
        place = line.strip().removeprefix("# ").removesuffix(" of features")
        found += [one[place] for one in theirs] if place in PARTS.values() else [line]
    return "".join(found)


def _parts_of(file: Path) -> dict[str, str]:
    found, part = dict.fromkeys(PARTS.values(), ""), ""
    for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.rstrip() in PARTS:
            part = PARTS[line.rstrip()]
        elif part and line.startswith("  "):
            found[part] += line
    return found


def no_wake_up(_wake_up: WakeUp) -> None:
    """No wake-up can be sent: the sweep finds what is due within a second."""


def app(
    parts: Parts,
    *,
    wake: Wake = no_wake_up,
    receive: Receive | None = None,
    body_seconds: float = BODY_SECONDS,
    room: int = ROOM,
    key_to_look: str = "",
    fetch: Get | None = None,
) -> web.Application:
    """An aiohttp application with POST /events, GET /events/ID, POST /webhooks/ACCOUNT, /healthz, /readyz,
    /openapi.yaml and routes of features, to run or to mount.

    The caller closes `parts`. `wake(wake_up)` is called on the loop for what is due, after the commit, and must
    return at once, as `WakeUps.send_soon` does. `body_seconds` bounds how long one body may take, `room` how many bytes
    of large bodies are held at a time: of webhooks, and of signed events before their signature is checked. For
    `key_to_look` see `Shared`. `fetch` fetches what sources of callbacks ask of their services; None:
    over the network. The database may be unreachable, or not yet upgraded, when the application starts.
    """
    parts.database.give_up_after(parts.settings.worker.lease / 2)
    threads = ThreadPoolExecutor(THREADS, thread_name_prefix="web")
    in_thread = partial(in_thread_of, threads)

    def prepare() -> None:
        check_keys(parts.database, parts.keyring)
        parts.ready()

    readiness = Readiness(parts.database, prepare=prepare)
    strangers = Strangers(log, parts.settings.web.trusted_proxies)

    async def lifetime(_application: web.Application) -> AsyncIterator[None]:
        await in_thread(readiness.look)
        yield
        threads.shutdown()
        strangers.write(monotonic())

    made = web.Application(middlewares=[counting(parts.meters), strangers.middleware, as_problems])
    made[READINESS], made[TRUSTED] = readiness, parts.settings.web.trusted_proxies
    made.cleanup_ctx.extend(
        [lifetime, _meanwhile(readiness.keep_looking, in_thread), _meanwhile(_keep_writing, strangers)]
    )
    made.on_response_prepare.extend([name_server, Proxies().look])
    shared = Shared(parts, readiness, in_thread, wake, body_seconds, strangers, key_to_look, room)
    _add_events(made, shared, receive or Receiver(parts.intake, parts.inboxes, parts.keyring).receive)
    _add_webhooks(made, shared, fetch)
    _add_state(made, shared)
    return made


def _meanwhile(work: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> CleanupContext:
    """Runs `work(*arguments)` while the application runs."""

    async def running(_application: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(work(*arguments))
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    return running


def _add_events(made: web.Application, shared: Shared, receive: Receive) -> None:
    parts = shared.parts
    statuses = EventStatuses(parts.database, parts.keyring)
    waiting = Waiting(lambda wanted: statuses.hand_out(wanted, now=parts.clock()), shared.in_thread)

    def take(chunk: Sequence[Event]) -> tuple[Sequence[EventReceipt], frozenset[WakeUp]]:
        received = receive(chunk)
        return received.receipts, received.due

    chunks = Batcher(take, shared.wake, shared.in_thread)
    events = Events(
        parts.settings.web,
        parts.clock,
        chunks,
        waiting,
        statuses,
        shared.readiness,
        shared.in_thread,
        lambda outcome: parts.meters.add(EVENTS, "web", outcome.value),
        body_seconds=shared.body_seconds,
        room=shared.room,
    )

    made[CHUNKS], made[WAITING] = chunks, waiting
    made.on_shutdown.append(waiting.close)
    made.router.add_post("/events", events.post)
    made.router.add_get("/events/{id}", events.get, name=ADDRESS)


def _add_webhooks(made: web.Application, shared: Shared, fetch: Get | None) -> None:
    parts = shared.parts
    process_kept = partial(process_webhooks, parts.webhooks, parts.clock, parts.meters, parts.traces)

    def keep(chunk: Sequence[Arrived]) -> tuple[list[bool], Sequence[WakeUp]]:
        # Of two verdicts without a time of their own, the one that came later counts: over all web processes.
        return parts.webhooks.keep(chunk, now=parts.database_clock()), ()

    processed = Processing(process_kept, shared.wake, shared.in_thread, lambda: shared.readiness.why_not is None)
    webhooks = WebhookRoutes(
        account_sources(parts.accounts, parts.keyring, parts.clock),
        sender_sources(parts.settings, parts.keyring, parts.clock, fetch),
        Batcher(keep, shared.wake, shared.in_thread),
        shared.readiness,
        shared.in_thread,
        processed,
        lambda source, outcome: parts.meters.add(WEBHOOKS, source, outcome),
        Door(shared.strangers, "webhooks", 1),
        body_seconds=shared.body_seconds,
        room=shared.room,
    )
    made.cleanup_ctx.append(_meanwhile(processed.keep_working))
    made.router.add_post("/webhooks/{account}", webhooks.provider)
    # FrankieOne appends its request's id to the registered address, which may end in a secret.
    made.router.add_post("/webhooks/{account}/{rest:.*}", webhooks.provider)
    if SENDER_SOURCES.offered():
        made.router.add_post("/callbacks/{sender}", webhooks.sender)


def _add_state(made: web.Application, shared: Shared) -> None:
    """Add the routes that say how the worker is, what the application answers, and those of features; and tell people
    what needs them."""
    readiness = shared.readiness
    document_ = description().encode()

    async def ready(_request: web.Request) -> web.Response:
        if readiness.why_not_taken is not None:
            return problem(503, readiness.why_not_taken)
        return web.json_response({"ready": True}, headers={"Cache-Control": "no-store"})

    async def alive(_request: web.Request) -> web.Response:
        return web.json_response({"alive": True}, headers={"Cache-Control": "no-store"})

    async def document(_request: web.Request) -> web.Response:
        return web.Response(body=document_, content_type="application/yaml", charset="utf-8")

    async def keep_telling() -> None:
        # Here too: the workers may all be gone.
        while True:
            await asyncio.sleep(TELL_SECONDS)
            if readiness.why_not is None:
                with suppress(sa.exc.OperationalError):
                    await shared.in_thread(partial(each_alone, *shared.parts.tellers))

    made.cleanup_ctx.append(_meanwhile(keep_telling))
    made.router.add_get("/healthz", alive)
    made.router.add_get("/readyz", ready)
    made.router.add_get("/openapi.yaml", document)
    for routes in ROUTES.offered():
        routes.add(made, shared)


async def _keep_writing(strangers: Strangers) -> None:
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        strangers.write(monotonic())
