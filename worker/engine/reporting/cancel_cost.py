"""What a cancel of a batch ends, for people."""

from worker.domain.model.states import OPEN_JOBS
from worker.foundation.plural import counted, listed_in_words
from worker.store.operators.counts import BatchCounts


def what_ends(counts: BatchCounts, reminders: int) -> str:
    """`300 rows (35 waiting, 265 invited), 35 first messages and 265 reminders`; "" if no row is left to cancel."""
    states = {state: number for state in OPEN_JOBS if (number := counts.jobs.get(state, 0))}
    if not states:
        return ""
    of_states = ", ".join(f"{number:,} {state}" for state, number in states.items())
    messages = sum(counts.unsent.values()) + sum(counts.to_come.values())
    parts = [f"{counted(sum(states.values()), 'row')} ({of_states})"]
    parts += [counted(messages, "first message")] if messages else []
    parts += [counted(reminders, "reminder")] if reminders else []
    return listed_in_words(parts)
