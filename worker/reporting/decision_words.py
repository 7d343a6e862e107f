"""What a person's decision about a batch holds back, ends or may cost, in words: for commands and the dashboard."""

from collections.abc import Mapping

from worker.core.foundation.plural import counted, listed_in_words
from worker.core.model.states import OPEN_JOBS
from worker.lists.decisions.store.decisions import RepeatCost
from worker.reporting.store.counts import BatchCounts


def rows_left(left: int) -> str:
    """Of a pause: `35 rows wait for their session or first message`.

    `left` is `Facts.left`: not among them are held rows, which wait for a person, and rows that another list serves.
    """
    if left == 1:
        return "1 row waits for its session or first message"
    return f"{counted(left, 'row')} wait for their session or first message"


def what_ends(counts: BatchCounts, reminders: int) -> str:
    """Of a cancel: `300 rows (35 waiting, 265 invited), 35 first messages and 265 reminders`; "" if no row is left."""
    states = {state: number for state in OPEN_JOBS if (number := counts.jobs.get(state, 0))}
    if not states:
        return ""
    of_states = ", ".join(f"{number:,} {state}" for state, number in states.items())
    messages = sum(counts.unsent.values()) + sum(counts.to_come.values())
    parts = [f"{counted(sum(states.values()), 'row')} ({of_states})"]
    parts += [counted(messages, "first message")] if messages else []
    parts += [counted(reminders, "reminder")] if reminders else []
    return listed_in_words(parts)


def worst_cost(cost: RepeatCost) -> str:
    """Of repeating held rows: a sentence; "" if nothing would be repeated."""
    sessions, messages = sum(cost.sessions.values()), sum(cost.messages.values())
    costs = []
    if sessions:
        second = "a second session" if sessions == 1 else f"{sessions:,} second sessions"
        costs.append(f"pays for {second} ({_each(cost.sessions)})")
    if messages:
        # Not of so many customers: one may have an email and a text.
        second = "a second message" if messages == 1 else f"{messages:,} second messages"
        costs.append(f"brings {second} ({_each(cost.messages)})")
    return f"At worst that {' and '.join(costs)}" if costs else ""


def _each(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in sorted(numbers.items()))
