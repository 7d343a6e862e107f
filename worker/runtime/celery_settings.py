"""Celery's settings, translated from onboarding.toml: the only place that spells them.

Queues: `issue` (wake-ups for provider accounts), `invite` (for channels), `tell` (for the targets of outgoing events)
and `sweep` (for the timer). Such a message carries the name of an account, a channel or a target, and may be lost. The
claim of rows decides what goes first, not the broker. `requests` holds events that other projects send as tasks
(docs/library.md): those messages must not be lost.
"""

import os
import socket
from collections.abc import Collection
from datetime import timedelta
from typing import Any

from kombu.entity import Exchange, Queue

from worker.domain.model.wakeups import Step
from worker.foundation.broker_faults import NEVER
from worker.settings import Settings

ISSUE, INVITE, PUBLISH, SWEEP, REQUESTS = "issue", "invite", "tell", "sweep", "requests"
WAKE_UP_QUEUES = (ISSUE, INVITE, PUBLISH, SWEEP)
QUEUES = (*WAKE_UP_QUEUES, REQUESTS)
# The tasks have the names of their queues.
QUEUE_OF = {Step.ISSUE: ISSUE, Step.INVITE: INVITE, Step.PUBLISH: PUBLISH}
# What does not happen while no worker consumes the queue, for people.
WITHOUT = {
    ISSUE: "no sessions are opened",
    INVITE: "no messages are sent",
    PUBLISH: "no events are published",
    SWEEP: "work that becomes due later does not start, and no lease is returned",
    REQUESTS: "requests sent as tasks are not accepted",
}
# The one task that is not a wake-up: other projects send it by this name.
REQUEST = "onboarding.request"
# Keeps refused requests, each with its reason. No worker consumes it.
REFUSED_REQUESTS = "requests.refused"
SWEEP_SECONDS = 1.0
# Wake-ups wait while no worker runs. The bound is far above the number of accounts and channels, and the sweep sends a
# dropped wake-up again.
MOST_WAKE_UPS = 1000
# Redis hands a message to another worker after this long without an acknowledgement. Longer than the longest
# dispatcher with its calls; short enough that a dead worker's wake-ups soon come back (the sweep sends others anyway).
VISIBILITY_SECONDS = 300
# How long RabbitMQ may take to confirm a wake-up. Without a bound the sender hangs with a broker that hangs.
CONFIRM_SECONDS = 5.0
# A connection to a host that vanished is given up after this long; by the system's own settings, after two hours.
GONE_SECONDS = 30


def why_not_with_workers(settings: Settings) -> str:
    """Why workers and beat cannot run with this configuration, and what to write instead; "" if they can."""
    if settings.broker.url.startswith("memory"):
        return "broker.url: workers need amqp://… or redis://…; `onboard run` works without a broker"
    if settings.database.url.startswith("sqlite"):
        return "database.url: workers need postgresql+psycopg://…; on SQLite use `onboard run`"
    return ""


def left_to_others(consumed: Collection[str]) -> str:
    """The queues that other workers must consume, if one worker consumes only these; "" if these are all."""
    return "; ".join(f"{queue} (else {without})" for queue, without in WITHOUT.items() if queue not in consumed)


def celery_settings(settings: Settings, *, pool: str = "threads") -> dict[str, Any]:
    """Celery's configuration. Pure: makes no connection and reads no file."""
    url = settings.broker.url
    targets = len(settings.subscribers) + (settings.bus is not None)
    # A dispatcher for each account and channel, a publisher for each target, wake-ups, and the sweep.
    threads = 2 * (len(settings.accounts) + 2 + targets) + 2
    return {
        "broker_url": url,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,  # a worker that starts before its broker waits for it
        "broker_transport_options": _transport_options(url),
        "task_queues": _queues(url),
        "task_default_queue": SWEEP,
        "task_default_exchange_type": "topic",
        "task_create_missing_queues": False,
        "task_serializer": "json",
        "accept_content": ["json"],
        # No results: the database's rows have them.
        "result_backend": None,
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        # A wake-up is acknowledged when its dispatcher has ended, and redelivered if the worker was lost in between.
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        "worker_consumer": "worker.runtime.celery_consumer:Consumer",
        # All accounts and channels of a process work in parallel on its loop; `--pool prefork` works too.
        "worker_pool": pool,
        "worker_concurrency": max(threads, 10) if pool == "threads" else os.cpu_count() or 1,
        # Time limits are neither set nor needed: a dispatcher claims rows no longer than `runner.LONGEST_DISPATCH`, and
        # each of its calls has a time-out. The threads pool would not keep them.
        #
        # After SIGQUIT on prefork the children have this long to write their results, and the worker always waits for
        # all of it. The threads pool cannot end a task by force: it waits for its calls (see `celery_consumer`).
        "worker_soft_shutdown_timeout": _longest_end(settings) if pool == "prefork" else 0.0,
        # Own the log (see `log_setup`): Celery's own lines carry arguments and the texts of exceptions.
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "timezone": "UTC",
        "enable_utc": True,
        # Without `expires`: a worker compares it with its own clock, which may be wrong.
        "beat_schedule": {
            "sweep": {
                "task": "sweep",
                "schedule": SWEEP_SECONDS,
                "options": {"queue": SWEEP, "retry": False, "confirm_timeout": CONFIRM_SECONDS},
            }
        },
        # The schedule is one tick that may be late, early or double: no file needs to keep it.
        "beat_scheduler": "worker.runtime.celery_beat:Scheduler",
        "beat_max_loop_interval": 1,
    }


def _longest_end(settings: Settings) -> float:
    """How many seconds a dispatcher needs to end: for its calls, and for the flush after them."""
    timeouts = [account.timeout for account in settings.accounts.values()]
    timeouts += [sender.timeout for sender in (settings.email, settings.sms) if sender is not None]
    timeouts += [timedelta(seconds=CONFIRM_SECONDS)] if settings.bus is not None else []
    return max((timeout.total_seconds() for timeout in timeouts), default=0.0) + 5.0


def _queues(url: str) -> list[Queue]:
    bounds = {"x-max-length": MOST_WAKE_UPS, "x-overflow": "drop-head"}
    return [*(_queue(name, url, bounds) for name in WAKE_UP_QUEUES), _queue(REQUESTS, url)]


def refused_requests(url: str) -> Queue:
    return _queue(REFUSED_REQUESTS, url, {"x-delivery-limit": NEVER})


def _queue(name: str, url: str, bounds: dict[str, Any] | None = None) -> Queue:
    # Quorum queues survive a broker's node; they must be quorum from the start, for a queue's kind cannot be
    # changed. A topic exchange, because Celery's delayed delivery, which quorum queues need, uses one.
    arguments = {"x-queue-type": "quorum", **(bounds or {})} if url.startswith("amqp") else None
    return Queue(name, Exchange("onboarding", type="topic"), routing_key=name, queue_arguments=arguments)


def _transport_options(url: str) -> dict[str, Any]:
    if url.startswith("redis"):
        return {
            "visibility_timeout": VISIBILITY_SECONDS,
            # Without these a message of a killed worker came back after 102 s instead of 6 (measured).
            "unacked_restore_interval": 2,
            "unacked_restore_throttle": 1,
            # Without these a publish on a dead connection waits for ever.
            "socket_timeout": 10,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "socket_keepalive_options": _keepalive(),
            "health_check_interval": 10,
            "retry_on_timeout": True,
        }
    if url.startswith("amqp"):
        return {
            "confirm_publish": True,
            "max_retries": 3,
            # Without these, closing a connection waits for ever for the answer of a broker that hangs.
            "read_timeout": 10,
            "write_timeout": 10,
        }
    return {"polling_interval": 0.01}


def _keepalive() -> dict[int, int]:
    """Keep-alives: a worker that only waits sends nothing, so it would not notice that the broker's host is gone."""
    wanted = {
        "TCP_KEEPIDLE": GONE_SECONDS // 2,
        "TCP_KEEPINTVL": GONE_SECONDS // 6,
        "TCP_KEEPCNT": 3,
        "TCP_USER_TIMEOUT": GONE_SECONDS * 1000,
    }
    return {getattr(socket, name): value for name, value in wanted.items() if hasattr(socket, name)}
