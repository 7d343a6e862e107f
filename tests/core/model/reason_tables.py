"""Makes the tables of docs/reference/states.md from the reasons and their steps:
`python -m tests.core.model.reason_tables`.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import JobState
from onboarding_worker.reporting.steps import step_for

PAGE = Path("docs/reference/states.md")
_TABLE = re.compile(r"<!-- reasons: (\w+) -->.*?<!-- end of reasons -->", re.DOTALL)
# The states that have a table of their own. The other tables have only what these have not.
STATES = (JobState.WAITING, JobState.HELD, JobState.FAILED, JobState.LAPSED)


def page_with_tables(page: str) -> str:
    """The page with its tables of reasons brought up to date."""
    return _TABLE.sub(
        lambda found: f"<!-- reasons: {found[1]} -->\n\n{table(found[1])}\n\n<!-- end of reasons -->", page
    )


def table(name: str) -> str:
    """The table called `name` as Markdown: of a job state, of all `other` job states, or of `messages`."""
    match name:
        case "messages":
            lines = [
                (reason, " or ".join(reason.messages), _sentence(reason.meaning))
                for reason in Reason
                if reason.messages and not any(isinstance(state, JobState) for state in reason.jobs)
            ]
            return _markdown(("reason", "message", "what happened"), lines)
        case "other":
            lines = [
                (reason, " or ".join(reason.jobs), _sentence(reason.meaning))
                for reason in Reason
                if any(isinstance(state, JobState) for state in reason.jobs) and not set(reason.jobs) & set(STATES)
            ]
            return _markdown(("reason", "state", "what happened"), lines)
        case _:
            state = JobState(name)
            lines = [
                (reason, _sentence(reason.meaning), _sentence(step_for(state, reason)))
                for reason in Reason
                if state in reason.jobs
            ]
            if state is JobState.WAITING:  # the worker goes on by itself: most need nothing
                joined = [(reason, f"{happened} {step}".strip()) for reason, happened, step in lines]
                return _markdown(("reason", "what happened, and what to do"), joined)
            # The page says once above the table which command --repeat and --abandon belong to.
            short = [
                (reason, happened, step.replace("`onboard resolve BATCH` with ", ""))
                for reason, happened, step in lines
            ]
            return _markdown(("reason", "what happened", "what to do"), short)


def _sentence(phrase: str) -> str:
    if not phrase or phrase.startswith("`"):
        return phrase and f"{phrase}."
    return f"{phrase[0].upper()}{phrase[1:]}."


def _markdown(head: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> str:
    rows = [head, *((f"`{line[0]}`", *line[1:]) for line in lines)]
    first, *rest = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([first, "|" + "---|" * len(head), *rest])


if __name__ == "__main__":
    PAGE.write_text(page_with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
