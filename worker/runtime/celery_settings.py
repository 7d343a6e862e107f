"""Celery's settings, translated from onboarding.toml: the only place that spells them.

Queues: `issue` (bells for provider accounts), `invite` (bells for channels), `publish` (bells for those who are told
what happens), `sweep` (the timer's). A message is a bell: it carries the name of an account, a channel or a target, and
nothing is lost with it. Precedence is decided when rows are taken, not by brokers. `requests` is for events that other
projects send as tasks (docs/library.md): those are no bells, and must not be lost.
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
# What stands still while no worker hears the queue, in words for people.
QUEUE_OF = {Step.ISSUE: ISSUE, Step.INVITE: INVITE, Step.PUBLISH: PUBLISH}
WITHOUT = {
    ISSUE: "no sessions are asked for",
    INVITE: "no messages are sent",
    PUBLISH: "nobody is told what happens",
    SWEEP: "nothing is rung for that is due later, and no lease is returned",
    REQUESTS: "no requests are taken that come as tasks",
}
# The one task that is no bell, by its name: other projects send it.
REQUEST = "onboarding.request"
# Where requests are kept that were refused, each with its reason; no worker listens there.
REFUSED_REQUESTS = "requests.refused"
SWEEP_SECONDS = 1.0
# Bells wait while no worker runs. Far more than there are accounts and channels: what is dropped rings again.
MOST_WAKE_UPS = 1000
# Redis hands a message to another worker after this long without an acknowledgement. Longer than the longest
# dispatcher with its calls; short enough that a dead worker's bells are not missed for long (the sweep rings anyway).
VISIBILITY_SECONDS = 300
# How long RabbitMQ may take to confirm a bell; without a bound, who rings at a broker that hangs waits with it.
CONFIRM_SECONDS = 5.0
# A host that vanished without a word is given up so soon; by the system's own settings, after two hours.
GONE_SECONDS = 30


def why_not_with_workers(settings: Settings) -> str:
    """Why workers and beat cannot work with this configuration, and what to write instead; "" when they can."""
    if settings.broker.url.startswith("memory"):
        return "broker.url: workers need amqp://… or redis://…; `onboard run` works without a broker"
    if settings.database.url.startswith("sqlite"):
        return "database.url: workers need postgresql+psycopg://…; on SQLite use `onboard run`"
    return ""


def unheard(heard: Collection[str]) -> str:
    """What other workers must see to beside one that hears these queues alone; "" where it hears all."""
    return "; ".join(f"{queue} ({without})" for queue, without in WITHOUT.items() if queue not in heard)


def celery_settings(settings: Settings, *, pool: str = "threads") -> dict[str, Any]:
    """What Celery is configured with. Pure: no connection is made and no file is read."""
    url = settings.broker.url
    targets = len(settings.subscribers) + (settings.bus is not None)
    # A dispatcher for each account and channel, one who tells for each target, bells, and the sweep.
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
        # No results: what came of a task is in the database's rows.
        "result_backend": None,
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        # A bell is acknowledged when its dispatcher is over, and rings again if the worker was lost in between.
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        "worker_consumer": "worker.runtime.celery_consumer:Consumer",
        # All accounts and channels of a process go side by side on its loop; `--pool prefork` works too.
        "worker_pool": pool,
        "worker_concurrency": max(threads, 10) if pool == "threads" else os.cpu_count() or 1,
        # Time limits are neither set nor needed: a dispatcher takes no rows for longer than `runner.LONGEST_DISPATCH`,
        # and each call in it ends by its own time-out. The threads pool would not keep them.
        #
        # SIGQUIT on prefork gives the children so long to write what they have, and always takes it; the threads pool
        # cannot end a task by force, so it takes as long as its calls (see `celery_consumer`).
        "worker_soft_shutdown_timeout": _longest_end(settings) if pool == "prefork" else 0.0,
        # Own the log (see `log_setup`): Celery's own lines carry arguments and the texts of exceptions.
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "timezone": "UTC",
        "enable_utc": True,
        # Without `expires`: whether that has come is judged by the worker's own clock, which may be wrong.
        "beat_schedule": {
            "sweep": {
                "task": "sweep",
                "schedule": SWEEP_SECONDS,
                "options": {"queue": SWEEP, "retry": False, "confirm_timeout": CONFIRM_SECONDS},
            }
        },
        # The schedule is one tick that may be late, early or double: there is nothing to keep in a file.
        "beat_scheduler": "worker.runtime.celery_beat:Scheduler",
        "beat_max_loop_interval": 1,
    }


def _longest_end(settings: Settings) -> float:
    """Seconds in which a dispatcher that was told to end has ended: its calls, and the flush after them."""
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
    # changed. A topic exchange, because Celery's delayed delivery, which quorum queues bring along, wants one.
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
    """A worker that only listens sends nothing, so it would not notice that the other side is no more."""
    wanted = {
        "TCP_KEEPIDLE": GONE_SECONDS // 2,
        "TCP_KEEPINTVL": GONE_SECONDS // 6,
        "TCP_KEEPCNT": 3,
        "TCP_USER_TIMEOUT": GONE_SECONDS * 1000,
    }
    return {getattr(socket, name): value for name, value in wanted.items() if hasattr(socket, name)}
