"""The report in one sentence: how many customers are invited, and how many rows need a person. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worker.core.foundation.plural import are, counted
from worker.core.lifecycle.session_updates import Result
from worker.core.model.states import REACHED_JOBS, UNSENT_JOBS, JobState, LineState
from worker.reporting.row_groups import needing


@dataclass(frozen=True)
class Headline:
    """`sentence` says how the batch stands, `rest` what became of the customers. `good`: nothing needs a person."""

    sentence: str
    rest: tuple[str, ...]
    good: bool


def headline(facts: Mapping[str, Any]) -> Headline:
    """`facts` come from `batch_report.status()`."""
    rows: Mapping[str, int] = facts["rows"]
    joined = rows.get(LineState.JOINED, 0)
    customers = rows["total"] - rows.get(LineState.DUPLICATE, 0) - rows.get(LineState.KNOWN, 0) - joined
    if not customers and not joined:
        return Headline("The list has no rows.", (), True)
    reached = sum(rows.get(state, 0) for state in REACHED_JOBS) - facts.get("lapsed_unsent", 0)
    reached += facts.get("cancelled_out", 0)
    needs = needing(rows)
    stopped = [name for name, account in facts["accounts"].items() if account["stopped"]]
    good = not needs and not stopped
    parts = [f"{reached:,} of {counted(customers, 'customer')} {are(customers)} invited"] if customers else []
    if joined:
        parts.append(f"{counted(joined, 'row')} joined rows of other lists")
    if needs:
        parts.append(f"{counted(needs, 'row')} {'needs' if needs == 1 else 'need'} a person")
    if stopped:
        parts.append(f"{counted(len(stopped), 'account')} {are(len(stopped))} stopped")
    if good:
        parts.append("nothing needs a person")
    return Headline("; ".join(parts) + ".", tuple(_rest(facts, rows)), good)


def _rest(facts: Mapping[str, Any], rows: Mapping[str, int]) -> list[str]:
    said = []
    done = rows.get(JobState.COMPLETED, 0)
    if done:
        results = ", ".join(
            f"{number:,} {result}" for result, number in facts["results"].items() if result != Result.REVIEW
        )
        said.append(f"{counted(done, 'customer')} {_have(done)} finished" + (f" ({results})." if results else "."))
    if reviewed := facts["results"].get(Result.REVIEW):
        said.append(f"{counted(reviewed, 'customer')} {are(reviewed)} in review at the provider.")
    left = sum(rows.get(state, 0) for state in UNSENT_JOBS)
    if left:
        said.append(f"{counted(left, 'row')} {'waits' if left == 1 else 'wait'} for a session or a message.")
    return said


def _have(number: int) -> str:
    return "has" if number == 1 else "have"
