"""Who was invited by a time and has not finished, each with its messages: `onboard report --kind nonresponders`."""

import csv
import json
from collections.abc import Iterable
from datetime import UTC, datetime, time
from typing import Any, TextIO

from worker.cli.plan_options import read_time
from worker.core.foundation.harmless_text import spreadsheet_safe
from worker.core.foundation.timestamps import written, written_if_any
from worker.reporting.store.nonresponders import Nonresponder

COLUMNS = (
    *("batch", "row", "customer_id", "purpose", "state", "account", "invited_at"),
    *("messages", "last_at", "last_channel", "last_fate", "history"),
)


def read_day_or_time(text: str) -> datetime:
    """Read a time with its zone, or a day, which ends by UTC. Raises ValueError."""
    try:
        day = datetime.strptime(text.strip(), "%Y-%m-%d").date()  # noqa: DTZ007 -- a day has no zone
        return datetime.combine(day, time.max, UTC)
    except ValueError:
        pass
    try:
        return read_time(text)
    except ValueError as error:
        raise ValueError(f"{error}; or a day, such as 2026-11-27") from None


def write_jsonl(out: TextIO, found: Iterable[Nonresponder]) -> int:
    count = 0
    for one in found:
        count += 1
        out.write(json.dumps(_as_facts(one), ensure_ascii=False) + "\n")
    return count


def write_csv(out: TextIO, found: Iterable[Nonresponder]) -> int:
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    count = 0
    for one in found:
        count += 1
        facts = _as_facts(one)
        messages = facts.pop("messages")
        last = messages[-1]
        history = "; ".join(_in_words(message) for message in messages)
        ends = (len(messages), last["at"], last["channel"], last["state"], history)
        writer.writerow([spreadsheet_safe(str(value)) for value in (*facts.values(), *ends)])
    return count


def _as_facts(one: Nonresponder) -> dict[str, Any]:
    return {
        "batch": one.batch_id,
        "row": one.row,
        "customer_id": one.customer_id,
        "purpose": one.purpose,
        "state": one.state,
        "account": one.account,
        "invited_at": written(one.invited_at),
        "messages": [
            {
                "at": written_if_any(message.at),
                "channel": message.channel,
                "kind": message.kind,
                "state": message.state,
                "reason": message.reason,
            }
            for message in one.messages
        ],
    }


def _in_words(message: dict[str, Any]) -> str:
    """One message for people: 2026-11-20T09:00:00Z email invitation delivered."""
    why = f" ({message['reason']})" if message["reason"] else ""
    return f"{message['at'] or 'no time'} {message['channel']} {message['kind']} {message['state']}{why}"
