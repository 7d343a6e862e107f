"""The facts of accounts and senders, as `onboard account list` prints them: limits, pauses, stops, credits."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from worker.core.database.database import Database
from worker.core.foundation.timestamps import written, written_if_any
from worker.core.limits.budgets import BudgetRule, BudgetState, credits_left, found_in_words
from worker.core.limits.store import concurrency
from worker.core.limits.store.budgets import Budgets
from worker.failover.store.takeovers import Takeovers
from worker.reporting.account_words import silence_of
from worker.reporting.waits import obstacle_of
from worker.settings.accounts import Account
from worker.settings.policies import BudgetRules

WORKING = "working"
SENDER = "sender"  # the provider of a sender


@dataclass(frozen=True, kw_only=True)
class AccountReport:
    database: Database
    budgets: Budgets
    rules: BudgetRules
    takeovers: Takeovers
    accounts: Mapping[str, Account]

    def facts(self, *, now: datetime) -> list[dict[str, Any]]:
        """Each account, then each sender."""
        states = self.budgets.all()
        takers: dict[str, list[str]] = {}
        for what in self.takeovers.possible(states):
            takers.setdefault(what.source, []).append(what.target)
        in_use = concurrency.in_use(self.database, now=now)
        return [
            {
                "account": name,
                "provider": self.accounts[name].provider if name in self.accounts else SENDER,
                "budget": rule.name,
                "limits": [str(limit) for limit in rule.at(_ramp_from(states, rule), now).limits],
                **({"ramp": str(rule.ramp)} if rule.ramp is not None else {}),
                "limit_found": found_in_words(rule, states.get(rule.name, BudgetState())),
                "concurrency": rule.concurrency,
                # Unknown for a sender whose connections are counted in each process.
                "places_in_use": None if rule.each_process else in_use.get(rule.name, 0),
                **_state(states.get(rule.name, BudgetState()), rule, now=now),
                **_used_up(name, rule, states.get(rule.name, BudgetState()), now=now),
                **({} if name in self.accounts else {"credits_used": None}),  # a sender's messages are not counted
                "taken_over_by": takers.get(name, []),
            }
            for name, rule in self.rules.all().items()
        ]


def _ramp_from(states: Mapping[str, BudgetState], rule: BudgetRule) -> datetime | None:
    return states.get(rule.name, BudgetState()).ramp_from


def state_in_words(item: Mapping[str, Any]) -> str:
    """What an account does now, and why; the first word is stopped, paused, silent, waiting or working."""
    if item["stopped_at"]:
        again = f"; a running worker asks again from {item['asks_again_at']} on" if item["asks_again_at"] else ""
        return f"stopped: {item['stop_reason']}{again}"
    if item["paused_until"]:  # the reason names the breaker if the breaker paused it
        return f"paused until {item['paused_until']}: {item['pause_reason']}"
    if item["no_answer"]:
        return f"silent: no answer at the last call: {item['no_answer']}"
    if item.get("next_call_at"):
        return f"waiting until {item['next_call_at']}: it has used up {item['used_up']}"
    return WORKING


def _used_up(name: str, rule: BudgetRule, state: BudgetState, *, now: datetime) -> dict[str, Any]:
    """The next call that the limits allow, if that is not soon, and which limit it is."""
    obstacle = obstacle_of(name, rule, state, now=now)
    if obstacle is None or obstacle.full_until is None:
        return {}
    return {"next_call_at": written(obstacle.full_until), "used_up": obstacle.full_for}


def _state(state: BudgetState, rule: BudgetRule, *, now: datetime) -> dict[str, Any]:
    paused_until = state.paused_until(now)
    return {
        "credits_used": state.credits_used,
        "credits_left": credits_left(state, rule),
        "paused_until": written_if_any(paused_until),
        "pause_reason": state.why_paused if paused_until else None,
        "stopped_at": written_if_any(state.stopped_at),
        "stop_reason": state.stop_reason or None,
        "asks_again_at": written_if_any(state.asks_again_at),
        "no_answer": silence_of(state, now=now) or None,
        "failures": state.failures,
        "breaker_opened_at": written_if_any(state.opened_at),
    }
