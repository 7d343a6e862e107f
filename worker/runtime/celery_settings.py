"""Celery's settings: celeryconfig.py, and what follows from onboarding.toml.

Queues: `issue` (wake-ups for provider accounts), `invite` (for channels), `tell` (for the targets of outgoing events)
and `sweep` (for the timer), each with the prefix of [broker] before it; the tasks have the same names. Such a message
carries the name of an account, a channel or a target, and may be lost. The claim of rows decides what goes first, not
the broker. Celery consumes nothing else: requests that other projects send as tasks are read by `onboard bus`
(`events/bus/sources.py`).
"""

import difflib
import os
import socket
from collections.abc import Callable, Collection
from datetime import timedelta
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from kombu.entity import Exchange, Queue

from onboarding_worker.core.model.wakeups import WorkStep
from onboarding_worker.events.brokers.connection import tls_options, transport_options
from onboarding_worker.settings.model import Settings
from onboarding_worker.settings.problems import SettingsError
from onboarding_worker.settings.queue_names import EXCHANGE, INVITE, ISSUE, PUBLISH, QUEUES, SWEEP, UNACKED
from onboarding_worker.wiring.watching import targets_of

if TYPE_CHECKING:
    from celery import Celery

# A wheel has the file inside the package, a checkout has it next to the package.
_PACKAGED = Path(__file__).parents[1] / "celeryconfig.py"
CELERYCONFIG = _PACKAGED if _PACKAGED.exists() else _PACKAGED.parents[1] / "celeryconfig.py"
OTHER_CELERYCONFIG = "ONBOARDING_CELERYCONFIG"  # names another file
# Settings that other processes take from onboarding.toml, and where.
NOT_CELERYCONFIGS = {
    "broker_url": "url of [broker]",
    "broker_read_url": "url of [broker]",
    "broker_write_url": "url of [broker]",
    "broker_use_ssl": "tls, ca and client_certificate of [broker]",
    "task_queues": "prefix of [broker]",
    "task_default_queue": "prefix of [broker]",
    "beat_schedule": "nothing (it is fixed)",
    "worker_enable_remote_control": "nothing (what a worker answers is fixed)",
}

PREFIX = "queue_prefix"  # ours, among Celery's settings
QUEUE_OF = {WorkStep.ISSUE: ISSUE, WorkStep.INVITE: INVITE, WorkStep.PUBLISH: PUBLISH}
# What does not happen while no worker consumes the queue, for people.
WITHOUT = {
    ISSUE: "no sessions are opened",
    INVITE: "no messages are sent",
    PUBLISH: "no events are published",
    SWEEP: "work that becomes due later does not start, and no expired lease is ended",
}
SWEEP_SECONDS = 1.0
# Wake-ups wait while no worker runs. The bound is far above the number of accounts and channels, and the sweep sends a
# dropped wake-up again.
MOST_WAKE_UPS = 1000
# RabbitMQ drops a message that was delivered so often and never acknowledged: it may be what ends connections.
DELIVERY_LIMIT = 5
# Redis hands a message to another worker after this long without an acknowledgement. Longer than a task may take, for
# whose thread a message may wait. A dead worker's wake-ups come back within 100 s more, and nothing waits for them: the
# sweep sends others.
VISIBILITY_SECONDS = 300
# How long RabbitMQ may take to confirm a wake-up. Without a bound the sender hangs with a broker that hangs.
CONFIRM_SECONDS = 5.0
# A connection to a host that vanished is given up after this long; by the system's own settings, after two hours.
GONE_SECONDS = 30


def why_not_with_workers(settings: Settings) -> str:
    """Why workers and beat cannot run with this configuration, and what to write instead; "" if they can."""
    if not settings.broker.wakes_workers:
        return "broker.url: workers need amqp://… or redis://…; `onboard run` works without a broker"
    if not settings.database.lacks("url") and settings.database.url.startswith("sqlite"):
        return "database.url: workers need postgresql+psycopg://…; on SQLite use `onboard run`"
    return ""


def name_of(app: "Celery", queue: str) -> str:
    """The name at the broker of one of QUEUES, and of its task."""
    return f"{app.conf[PREFIX]}{queue}"


def consumed_by(app: "Celery") -> list[str]:
    """Those of QUEUES that this worker consumes."""
    return [queue for queue in QUEUES if name_of(app, queue) in app.amqp.queues.consume_from]


def left_to_others(consumed: Collection[str]) -> str:
    """The queues that other workers must consume, if one worker consumes only these; "" if these are all."""
    return "; ".join(f"{queue} (else {without})" for queue, without in WITHOUT.items() if queue not in consumed)


def configure(app: "Celery", settings: Callable[[], Settings], *, pool: str = "threads") -> None:
    """Give an app its configuration. `settings` is called when the app first needs it. Raises SettingsError."""
    written = celeryconfig()

    def others() -> dict[str, Any]:  # Celery prefers defaults that are added to the file
        return {name: value for name, value in computed(settings(), pool=pool).items() if not hasattr(written, name)}

    app.config_from_object(written)
    app.add_defaults(others)


def celeryconfig() -> ModuleType:
    """The module celeryconfig.py. Read from its file, not by its name: a host project may have one of its own. Raises
    SettingsError."""
    path = Path(os.environ.get(OTHER_CELERYCONFIG) or CELERYCONFIG)
    spec = spec_from_file_location("onboarding_celeryconfig", path)
    if spec is None or spec.loader is None:
        raise SettingsError([f"{path}: Celery's settings are a Python file"])
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever an operator's file raises
        raise SettingsError([f"{path}: it cannot be loaded ({type(error).__name__}): see celeryconfig.py"]) from None
    problems = [f"{path}: {problem}" for problem in _problems(vars(module))]
    if problems:
        raise SettingsError(problems)
    return module


def _problems(given: Collection[str]) -> list[str]:
    from celery.app.defaults import NAMESPACES, flatten

    known = {name for name, _ in flatten(NAMESPACES)}
    problems = [f"{name}: set {where} instead" for name, where in NOT_CELERYCONFIGS.items() if name in given]
    for name in given:
        # A name without a letter in common with a setting may be a variable of the file.
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.8) if name.islower() and "_" in name[1:] else []
        if name not in known and not name.startswith("_") and near:
            problems.append(f"{name}: Celery has no such setting; did you mean {near[0]}?")
    return problems


def computed(settings: Settings, *, pool: str = "threads") -> dict[str, Any]:
    """What of Celery's configuration follows from onboarding.toml. Pure: makes no connection and reads no file."""
    url, prefix = settings.broker.url, settings.broker.prefix
    # One tick a second, which may be late, early or double: no file needs to keep the schedule. Without `expires`,
    # because a worker compares it with its own clock, which may be wrong. The time-out is for a broker that hangs.
    tick = {"queue": prefix + SWEEP, "retry": False, "confirm_timeout": CONFIRM_SECONDS}
    # A dispatcher for each account and channel, a publisher for each target, wake-ups, and the sweep.
    threads = 2 * (len(settings.accounts) + 2 + len(targets_of(settings))) + 2
    return {
        "broker_url": url,
        "broker_use_ssl": tls_options(url, settings.broker.protection),
        "broker_transport_options": _transport_options(url, prefix),
        PREFIX: prefix,
        "task_queues": [_queue(name, prefix, url) for name in QUEUES],
        "task_default_queue": prefix + SWEEP,
        "beat_schedule": {SWEEP: {"task": prefix + SWEEP, "schedule": SWEEP_SECONDS, "options": tick}},
        # Other applications have Celery's own names for these: what they command reaches no worker of ours.
        "control_exchange": f"{prefix}celery",
        "event_exchange": f"{prefix}celeryev",
        "event_queue_prefix": f"{prefix}celeryev",
        # Celery's own would do whatever is asked. What may be asked is answered by `monitoring`.
        "worker_enable_remote_control": False,
        # All accounts and channels of a process work in parallel on its loop; `--pool prefork` works too.
        "worker_pool": pool,
        "worker_concurrency": max(threads, 10) if pool == "threads" else os.cpu_count() or 1,
        # After SIGQUIT on prefork the children have this long to write their results, and the worker always waits for
        # all of it. The threads pool cannot end a task by force: it waits for its calls (see `celery_consumer`).
        "worker_soft_shutdown_timeout": _longest_end(settings) if pool == "prefork" else 0.0,
    }


def _longest_end(settings: Settings) -> float:
    """How many seconds a dispatcher needs to end: for its calls, and for the flush after them."""
    timeouts = [account.timeout for account in settings.accounts.values()]
    timeouts += [sender.timeout for sender in settings.sending.values()]
    timeouts += [timedelta(seconds=CONFIRM_SECONDS)] if settings.bus is not None else []
    return max((timeout.total_seconds() for timeout in timeouts), default=0.0) + 5.0


def _queue(name: str, prefix: str, url: str) -> Queue:
    # Quorum queues survive a broker's node; they must be quorum from the start, for a queue's kind cannot be changed.
    # Celery sends to a queue of a direct exchange by the exchange without a name, which needs no binding: on Redis
    # bindings are a key, and a wake-up is lost without an error once that is evicted. Celery's delayed delivery needs
    # another kind, and is not used.
    bounds = {"x-max-length": MOST_WAKE_UPS, "x-overflow": "drop-head", "x-delivery-limit": DELIVERY_LIMIT}
    arguments = {"x-queue-type": "quorum", **bounds} if url.startswith("amqp") else None
    exchange = Exchange(prefix + EXCHANGE, type="direct")
    return Queue(prefix + name, exchange, routing_key=prefix + name, queue_arguments=arguments)


def _transport_options(url: str, prefix: str) -> dict[str, Any]:
    options = transport_options(url)
    if url.startswith("redis"):
        # A sender that finds no broker tries again some times, and gives the wake-up up: the sweep sends another.
        tries = {"max_retries": 2, "interval_start": 0, "interval_step": 0.2}
        options |= {"visibility_timeout": VISIBILITY_SECONDS, "socket_keepalive_options": _keepalive(), **tries}
        options |= {option: prefix + key for option, key in UNACKED.items()}
    elif url.startswith("amqp"):
        options["max_retries"] = 3
    return options


def _keepalive() -> dict[int, int]:
    """Keep-alives: a worker that only waits sends nothing, so it would not notice that the broker's host is gone."""
    wanted = {
        "TCP_KEEPIDLE": GONE_SECONDS // 2,
        "TCP_KEEPINTVL": GONE_SECONDS // 6,
        "TCP_KEEPCNT": 3,
        "TCP_USER_TIMEOUT": GONE_SECONDS * 1000,
    }
    return {getattr(socket, name): value for name, value in wanted.items() if hasattr(socket, name)}
