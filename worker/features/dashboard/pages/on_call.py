"""For the person on call: what is stuck, since when, what that costs in an hour, and the one action that is safe."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from onboarding_worker.core.foundation.notation import counted
from onboarding_worker.core.rules.budgets import BudgetState
from onboarding_worker.features.dashboard.contract import Asked, Page, Sources
from onboarding_worker.features.dashboard.pages.batch_actions import page_of
from onboarding_worker.features.dashboard.pages.now import need_of
from onboarding_worker.features.dashboard.store.batch_rows import HOUR, KeptBack, kept_back
from onboarding_worker.reporting.forecast import Load, pace_of
from onboarding_worker.reporting.prices import Prices, in_words
from onboarding_worker.reporting.waits import Wait

EVERYTHING = ("stop", "database", "process", "calls")  # what keeps the rows of all batches


@dataclass(frozen=True)
class Cost:
    """`customers`: how many more would be invited in an hour, at the usual pace. `waiting`: how many wait for it.
    `ending`: the paid sessions that end unused within the hour; `lost`: their price, "" where none is set."""

    customers: int = 0
    waiting: int = 0
    ending: int = 0
    lost: str = ""

    @property
    def in_words(self) -> list[str]:
        words = []
        if self.waiting:
            up_to = "" if self.customers == self.waiting else "up to "
            an_hour = counted(self.customers, "customer is", "customers are")
            words.append(f"{up_to}{an_hour} not invited in an hour; {self.waiting:,} wait")
        if self.ending:
            end = counted(self.ending, "paid session ends", "paid sessions end")
            words.append(f"{end} unused within the hour{f': {self.lost}' if self.lost else ''}")
        return words


@dataclass(frozen=True)
class _Costs:
    sources: Sources
    kept: Sequence[KeptBack]
    states: Mapping[str, BudgetState]
    now: datetime

    def of(self, one: Wait, *, unheard: bool) -> Cost:
        """`unheard`: no worker looks for due work."""
        waiting, sessions = Counter[str](), Counter[str]()
        for row in (row for row in self.kept if _keeps(one, row, unheard=unheard)):
            waiting[row.channels[0] if row.is_open else row.account] += row.rows
            sessions[row.account] += row.ending
        amounts = Prices.of(self.sources.parts.settings).total(+sessions, {})
        return Cost(sum(self._in_an_hour(waiting)), waiting.total(), sessions.total(), in_words(amounts))

    def _in_an_hour(self, waiting: Mapping[str, int]) -> Iterable[int]:
        """By budget, which has one pace for all that share it. All, where no pace is known."""
        rules, left = self.sources.parts.budget_rules.all(), Counter[str]()
        for name, rows in waiting.items():
            left[rules[name].name if name in rules else name] += rows
        by_budget = {rule.name: rule for rule in rules.values()}
        for budget, rows in left.items():
            rule, state = by_budget.get(budget), self.states.get(budget, BudgetState())
            pace = pace_of(Load(budget, rows, rule, state), now=self.now) if rule is not None else None
            yield rows if pace is None else min(rows, round(pace * HOUR.total_seconds()))


def _keeps(one: Wait, row: KeptBack, *, unheard: bool) -> bool:
    """Whether the row waits for this. A paused batch waits for its resume, whatever else there is."""
    names = one.name.split(", ")  # accounts that share a budget are named together
    match one.what:
        case "batch":
            return row.is_paused and one.batch_id == row.batch_id
        case "account":
            return not row.is_paused and not row.is_open and row.account in names
        case "sender":  # no session is bought for a customer who could not be written to
            return not row.is_paused and one.name in row.channels
        case "beat":
            return not row.is_paused and unheard
        case what:
            return not row.is_paused and what in EVERYTHING


def read(sources: Sources, asked: Asked) -> Mapping[str, Any]:
    whole = sources.parts.operation.report()
    stores = sources.parts
    costs = _Costs(sources, kept_back(stores.database, now=asked.now), stores.budgets.all(), asked.now)
    by_persons = {one.id for one in stores.batches.all() if one.is_paused and not one.paused_itself}
    number = len(whole.attention)
    stuck = [(one, costs.of(one, unheard=bool(whole.unheard))) for one in whole.attention]
    stuck.sort(key=lambda each: (not each[0].is_critical, -each[1].customers, -each[1].ending))
    shown = []
    for one, cost in stuck:
        of_one = need_of(one) | {"since": one.since, "cost": cost.in_words}
        # The safe action: a single call to an account, or the resume of a batch that paused itself and would do so
        # again. What a person stopped or paused is for that person: the page only leads there.
        if one.what == "stop" or one.batch_id in by_persons:
            there = page_of(one.batch_id) if one.batch_id is not None else "/"
            of_one |= {"action": "", "page": of_one["page"] or there}
        shown.append(of_one)
    return {
        "stuck": shown,
        "headline": f"{counted(number, 'thing is', 'things are')} stuck" if number else "Nothing is stuck",
        "ending": [(one, costs.of(one, unheard=False).in_words) for one in _together(whole.blocked)],
    }


def _together(blocked: Iterable[Wait]) -> Iterable[Wait]:
    """Those that end by themselves; accounts that share a budget as one."""
    alike: dict[Wait, list[str]] = {}
    for one in blocked:
        if not one.action:
            alike.setdefault(one._replace(name=""), []).append(one.name)
    return (one._replace(name=", ".join(names)) for one, names in alike.items())


PAGE = Page(path="/dashboard/on-call", live="on_call_live.html", read=read, title="On call")
