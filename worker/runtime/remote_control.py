"""Celery's remote control of a worker: questions and an orderly end, and nothing else.

Whatever can write to the broker can send such commands. Celery's own may deafen a worker (`cancel_consumer`), slow it
(`rate_limit`), kill its calls (`time_limit`, `revoke`), shrink its pool, or have it write files. None is needed:
`onboard pause`, `stop` and `account` do it for the work itself, with a name in the audit log. What is left tells about
the process, switches Celery's events, or ends it as SIGTERM does, so that its supervisor starts it again.
"""

import hmac
import logging
import secrets
from typing import Any

from celery import Celery
from celery.worker.control import Panel, control_command

from worker.runtime.celery_settings import QUEUES

log = logging.getLogger(__name__)
ASKS = frozenset(
    {
        "active",
        "active_queues",
        "clock",
        "conf",
        "ping",
        "query_task",
        "registered",
        "report",
        "reserved",
        "revoked",
        "scheduled",
        "stats",
    }
)
# Celery's events are switched by what reads them: `celery events`, Flower.
EVENTS = frozenset({"enable_events", "disable_events", "heartbeat"})
SHUTDOWN, DRAIN = "shutdown", "onboarding_drain"
ALLOWED = ASKS | EVENTS | {SHUTDOWN, DRAIN}
# Known to this worker's own processes alone: children of the prefork pool are forked after it is made.
_word = secrets.token_hex(16)


def restrict() -> None:
    """Take all other commands from the workers of this process."""
    for name in [name for name in Panel.data if name not in ALLOWED]:
        del Panel.data[name]


def drain(app: Celery, node: str) -> None:
    """Have this process's own worker, named `node`, leave its queues. Raises what sending to the broker raises."""
    app.control.broadcast(DRAIN, arguments={"word": _word}, destination=[node])


@control_command(name=DRAIN, visible=False)  # type: ignore[untyped-decorator]
def _drain(state: Any, word: Any = "", **_: Any) -> dict[str, str]:
    # Anybody may send this command: only the worker's own processes know the word.
    if not isinstance(word, str) or not hmac.compare_digest(word.encode("utf-8", "replace"), _word.encode()):
        log.warning("remote control: refused to leave the queues, because this worker did not ask for it")
        return {"error": "refused"}
    for queue in QUEUES:
        state.consumer.call_soon(state.consumer.cancel_task_queue, queue)
    return {"ok": "leaves its queues"}
