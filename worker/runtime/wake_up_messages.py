"""Reads a message from a queue of wake-ups: anybody with access to the broker may have written it. Pure.

A wake-up is one of our tasks with its id and at most one name. Celery would act on much else that a message may hold: a
time limit, an eta, a compressed body. So only these three are taken over, and all other messages are dropped: a wake-up
holds nothing that could be lost.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worker.core.foundation.strict_json import NoObject, read_list
from worker.core.model.wakeups import WakeUp
from worker.runtime.celery_settings import QUEUE_OF, QUEUES, SWEEP

LARGEST = 4096  # bytes; ours have about 100
LONGEST_NAME = 200
_STEPS = {queue: step for step, queue in QUEUE_OF.items()}
_ID = re.compile(r"[0-9A-Za-z-]{1,64}")


@dataclass(frozen=True)
class WakeUpMessage:
    """A task with its arguments, as Celery's message protocol 2 has it."""

    task: str
    id: str
    arguments: tuple[str, ...]

    @property
    def wake_up(self) -> WakeUp | None:
        """None: the sweep's."""
        return WakeUp(_STEPS[self.task], *self.arguments) if self.task in _STEPS else None

    @property
    def headers(self) -> dict[str, Any]:
        shown = {"argsrepr": repr(self.arguments), "kwargsrepr": "{}"}  # for `inspect` and for Celery's events
        return {"lang": "py", "task": self.task, "id": self.id, **shown}

    @property
    def body(self) -> bytes:
        return json.dumps([self.arguments, {}, {}]).encode()


def wake_up_in(headers: Any, body: Any, content_type: Any, content_encoding: Any) -> WakeUpMessage | str:
    """The wake-up, or why the message is none. The reason repeats nothing of the message."""
    if not isinstance(headers, Mapping) or headers.get("task") not in QUEUES:
        return "it has not the name of one of our tasks"
    if "compression" in headers:
        return "it is compressed"
    if content_type != "application/json" or content_encoding != "utf-8":
        return "it is not JSON in UTF-8"
    raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    if not isinstance(raw, bytes) or len(raw) > LARGEST:
        return f"it has more than {LARGEST:,} bytes"
    task, id_, found = headers["task"], headers.get("id"), read_list(raw)
    if not isinstance(id_, str) or not _ID.fullmatch(id_):
        return "it has no id"
    if isinstance(found, NoObject) or len(found) != 3 or not isinstance(found[0], list) or found[1] != {}:
        return "its body is not that of a task"
    arguments = found[0]
    if len(arguments) != (0 if task == SWEEP else 1) or not all(map(_is_name, arguments)):
        return "its arguments are not one name"
    return WakeUpMessage(task, id_, tuple(arguments))


def _is_name(argument: Any) -> bool:
    return isinstance(argument, str) and 0 < len(argument) <= LONGEST_NAME and argument.isprintable()
