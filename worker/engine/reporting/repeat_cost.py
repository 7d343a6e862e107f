"""What repeating held rows may cost, for people."""

from collections.abc import Mapping

from worker.store.operators.decisions import RepeatCost


def worst_cost(cost: RepeatCost) -> str:
    """A sentence; "" if nothing would be repeated."""
    sessions, messages = sum(cost.sessions.values()), sum(cost.messages.values())
    costs = []
    if sessions:
        second = "a second session" if sessions == 1 else f"{sessions:,} second sessions"
        costs.append(f"pays for {second} ({_each(cost.sessions)})")
    if messages:
        second = "a customer a second message" if messages == 1 else f"{messages:,} customers a second message"
        costs.append(f"brings {second} ({_each(cost.messages)})")
    return f"At worst that {' and '.join(costs)}" if costs else ""


def _each(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in sorted(numbers.items()))
