"""Compares the engine's month with the model's, customer by customer, and as a table."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from tests.trials.month.model import Behaviour, Customer, Story, story_of
from tests.trials.month.stable_model import stable_story_of
from trials.month.run import Lived, Month, Plan, Times

COUNTS = ("sessions", "invitations", "reminders")
LATE = timedelta(minutes=10)


def expected_story(customer: Customer, plan: Plan, month: Month) -> Story:
    """The model's story of the customer, as its provider reports it.

    FrankieOne's events report neither a review nor a verdict: they end when results are there.
    """
    without_verdicts = customer.endpoint.name.startswith("frankieone")
    if without_verdicts and customer.behaviour is Behaviour.REVIEWED:
        customer = replace(customer, behaviour=Behaviour.AT_ONCE)
    months = {"start": month.start, "until": month.until}
    if plan.stable:
        on_click = plan.stable == "on-click"
        story = stable_story_of(customer, plan.rules, on_click=on_click, fallback=plan.fallback, **months)
    else:
        story = story_of(customer, plan.rules, fallback=plan.fallback, **months)
    return replace(story, why="unknown") if without_verdicts and story.ending == "completed" else story


def expected(story: Story) -> Lived:
    return Lived(len(story.sessions), len(story.invitations), len(story.reminders), story.ending, story.why)


def stories(plan: Plan, month: Month) -> Iterator[tuple[Customer, Story]]:
    for customer in plan.customers:
        yield customer, expected_story(customer, plan, month)


def differences(plan: Plan, month: Month, *, late: timedelta = LATE) -> list[str]:
    """A line for each customer whose counts or times differ from the model's.

    `late` is the most that the worker may be later than the model, after a month of steps.
    """
    found = []
    for customer, story in stories(plan, month):
        label = f"customer {customer.number}, {customer.endpoint.name} {customer.behaviour}, {customer.ahead:+d} h"
        ours, theirs = month.lived[customer.number], expected(story)
        if ours != theirs:
            found.append(f"{label}: {_shown(ours)}; the model has {_shown(theirs)}")
        elif (at := _another_time(month.times[customer.number], story, late)) is not None:
            found.append(f"{label}: {at[0]}, which the model has at {at[1]:%d %H:%M}, was at {at[2]:%d %H:%M}")
    return found


def _another_time(times: Times, story: Story, late: timedelta) -> tuple[str, datetime, datetime] | None:
    """The first event at another time than the model's: its name, the model's time and the worker's time."""
    for name in COUNTS:
        pairs = zip(getattr(story, name), getattr(times, name), strict=True)
        for number, (ought, was) in enumerate(pairs, 1):
            if not timedelta(0) <= was - ought <= late:
                return f"number {number} of its {name}", ought, was
    return None


def margin(plan: Plan, month: Month) -> timedelta:
    """The narrowest margin of the model's comparisons. With steps shorter than it, worker and model must agree."""
    return min((story.margin for _, story in stories(plan, month)), default=timedelta.max)


def _shown(lived: Lived) -> str:
    counts = ", ".join(f"{getattr(lived, name)} {name}" for name in COUNTS)
    return f"{counts}, {lived.ending} {lived.why}".strip()


def table(plan: Plan, month: Month) -> Iterator[str]:
    """A line for each endpoint and behaviour, with the engine's counts before the model's, and a total."""
    engine: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    model: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for customer, story in stories(plan, month):
        for key in ((customer.endpoint.name, str(customer.behaviour)), ("all", "")):
            _count(engine[key], month.lived[customer.number])
            _count(model[key], expected(story))
    yield (
        f"{'endpoint':<19} {'behaviour':<15} {'customers':>9}"
        + "".join(f" {name:>15}" for name in COUNTS)
        + "  endings"
    )
    for key in sorted(engine, key=lambda key: (key[0] == "all", key)):
        ours, theirs = engine[key], model[key]
        counts = "".join(f" {_pair(ours[name], theirs[name]):>15}" for name in COUNTS)
        names = sorted(name for name in ours | theirs if name not in (*COUNTS, "customers"))
        endings = ", ".join(f"{name} {_pair(ours[name], theirs[name])}" for name in names)
        mark = "" if ours == theirs else "  <-- differs"
        yield f"{key[0]:<19} {key[1]:<15} {ours['customers']:>9,}{counts}  {endings}{mark}"


def _count(counts: Counter[str], lived: Lived) -> None:
    counts["customers"] += 1
    for name in COUNTS:
        counts[name] += getattr(lived, name)
    counts[f"{lived.ending} {lived.why}".strip()] += 1


def _pair(ours: int, theirs: int) -> str:
    return f"{ours:,}" if ours == theirs else f"{ours:,}/{theirs:,}"
