"""How the whole stands: the facts that `onboard status` begins and ends with (which processes run, what needs a
person), and those of accounts and senders, as `onboard account list` prints them."""

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from types import MappingProxyType
from typing import Any, NamedTuple

from onboarding_worker.core.budgets.budgets import Budgets
from onboarding_worker.core.budgets.reports import unread_codes
from onboarding_worker.core.claim import leases
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.foundation.clock import Clock
from onboarding_worker.core.foundation.features import hint
from onboarding_worker.core.foundation.notation import listed_in_words, written, written_if_any
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.rules.budgets import BudgetRule, BudgetState, credits_left, found_in_words
from onboarding_worker.core.rules.limits import day_of, end_of
from onboarding_worker.core.upkeep.takeovers import Takeovers
from onboarding_worker.lists.decisions.store.emergency_stop import EmergencyStops, Stopped
from onboarding_worker.lists.store.batches import STDIN, BatchFacts
from onboarding_worker.reporting import waits
from onboarding_worker.reporting.batch_report import rows_left
from onboarding_worker.reporting.standings import STANDINGS, Standing
from onboarding_worker.reporting.store import waiting
from onboarding_worker.reporting.store.look import Looks
from onboarding_worker.reporting.store.processes import (
    FULL,
    GONE_AFTER,
    IMPORT,
    WORK,
    Processes,
    Running,
    Wakening,
    kinds_at_work,
    no_wake_up,
)
from onboarding_worker.reporting.waits import Wait, of_account, of_accounts, rows_wait, silence_of
from onboarding_worker.settings.model import Settings
from onboarding_worker.settings.outside import REQUESTS, queues_published_to
from onboarding_worker.settings.policies import BudgetRules

WORKING = "working"
SENDER = "sender"  # the provider of a sender


class OperationReport(NamedTuple):
    """How the whole stands at one moment. `due`: the accounts and senders with work that is due and can be done."""

    at: datetime
    running: Sequence[Running]
    due: frozenset[str]
    attention: Sequence[Wait]
    accounts: Mapping[str, Mapping[str, Any]]  # the stop and the pause of each account and sender
    stopped: Stopped | None = None  # a person has stopped everything
    idle: str = ""  # why no process works what is due, and the command that helps
    left_alone: str = ""  # the same, of a batch that no process works
    unwritable: str = ""  # why nothing can be written, whichever process works
    standings: Sequence[Standing] = ()
    missing: Mapping[int, Sequence[Wait]] = MappingProxyType({})  # what the configuration does not have, by batch
    blocked: Sequence[Wait] = ()  # accounts and senders that rows wait for: stopped, paused or at their limit
    unheard: str = ""  # that no worker looks for due work; empty: they do, as far as the database knows
    # Beat reaches no database: that it runs is known by its wake-ups. None: none has come for a while.
    beat_at: datetime | None = None

    @property
    def nothing_to_do(self) -> str:
        names = [f"{one.called} ({_until(one)})" for one in self.blocked]
        return f"rows wait for {listed_in_words(names)}" if names else "nothing is due now"

    @property
    def pauses(self) -> str:
        """The pauses that rows wait for; empty: there are none. A stop needs a person, and is among `attention`."""
        whys = [one.in_words for one in self.blocked if not one.action]
        return f"rows wait: {'; '.join(whys)}" if whys else ""

    def facts(self) -> dict[str, Any]:
        """As `status --json` prints them."""
        return {
            "processes": [
                {
                    "kind": one.kind,
                    "host": one.host,
                    "pid": one.pid,
                    "release": one.release,
                    "batch": one.batch_id,
                    "since": written(one.started_at),
                    "seen": written(one.seen_at),
                }
                for one in self.running
            ],
            "needs_a_person": [
                {"what": one.what, "name": one.name, "reason": one.detail, "command": one.action}
                for one in self.attention
            ],
            **({"stopped": self.stopped.as_facts()} if self.stopped is not None else {}),
            **{name: fact for one in self.standings for name, fact in one.facts.items()},
        }

    def with_what_is_worked(self, facts: dict[str, Any]) -> dict[str, Any]:
        """A batch's facts without a forecast if the configuration does not have what its rows need, if no process works
        the batch, or if no worker hears of it."""
        kinds = kinds_at_work(self.running, facts["batch"])
        why = self.unheard if kinds == {"worker"} else ""
        if self.unwritable or not kinds:
            why = self.left_alone
        if missing := self.missing.get(facts["batch"]):
            why = "; ".join(f"{one.name}: {one.detail}" for one in missing)
        if facts["forecast"]["finishes_at"] is None or not why:
            return facts
        return facts | {"forecast": {"finishes_at": None, "limited_by": why, "assumed": False}}


@dataclass(frozen=True, kw_only=True)
class Operation:
    """Nothing in it is counted row by row but rows whose key is missing, rows that wait, and what features count."""

    clock: Clock
    database: Database
    rules: BudgetRules
    takeovers: Takeovers
    key_ids: Collection[str] | None  # of the configuration; None: they are not known here
    settings: Settings

    def report(self) -> OperationReport:
        now = self.clock()
        processes = Processes(self.database)
        running, states = processes.running(now=now), Budgets(self.database).all()
        stopped = EmergencyStops(self.database).find()
        found = Looks(self.database).look(accounts=self.rules.accounts, channels=self.rules.channels, now=now)
        shut, asked = self._shut(states, now), found.accounts | found.channels
        waited_for, kept_by_senders = waiting.waited_for(self.database, shut)
        due = asked - shut.keys() - kept_by_senders
        starts = "onboard worker" if self.settings.broker.wakes_workers else "onboard up"
        capped = waiting.at_their_cap(self.database, now=now)
        refused = sorted(waiting.refused_events(self.database).items())
        stands = [one.read(self.settings, self.database, states, now) for one in STANDINGS.offered()]
        working = any(one.kind in WORK for one in running)
        works_all = any(one.kind in WORK and one.batch_id is None for one in running)  # not a `run` of one list alone
        # While a process says on a server that it runs, the server takes writes: this may be asked of a standby.
        unwritable = self.database.why_nothing_is_written() if self.database.is_sqlite or not working else ""
        timers = processes.last()
        if (full_at := timers.get(FULL)) is not None and now - full_at < GONE_AFTER:
            unwritable = "the database's disk is full: make space"  # a process may still say that it runs
        doctor = hint("doctor", ": `onboard doctor`")
        idle = f"{unwritable}{doctor}" if unwritable else f"{waits.none_works(running)}: `{starts}`"
        left_alone = f"no process works this batch: `{starts}`" if working and not unwritable else idle
        importing = any(one.kind == IMPORT for one in running) or any(one.is_importing for one in stands)
        wakening = Wakening.of(timers)
        unheard = f"{no_wake_up(wakening)}{doctor}" if wakening.none_look(now) else ""
        stop = [] if stopped is None else [Wait("stop", "", stopped.in_words, "onboard resume --all", since=stopped.at)]
        missing = self._missing()
        # Only a sender shows that events are published to them: [bus] may be there to publish alone.
        queues = [self.settings.bus.queue] if self.settings.bus is not None else []
        queues += [REQUESTS] if self.settings.broker.wakes_workers else []
        keys = waiting.missing_keys(self.database, self.key_ids) if self.key_ids is not None else {}
        needs = [
            *stop,
            *waits.of_work(
                *(running, due),
                unwritable=unwritable,
                starts=starts,
                since=wakening.swept_at,
                unmoved=waiting.unmoved_since(self.database, due, now=now) if due and works_all else None,
                now=now,
            ),
            *waits.of_scheduler(running, wakening, now=now),
            *waits.of_bus(running, queues_published_to(self.settings.web.senders, queues), unwritable=unwritable),
            *(waits.of_missing_key(key_id, *rows) for key_id, rows in keys.items()),
            *(waits.of_missing(what, name, rows) for (what, name), rows in missing.items()),
            *self._of_budgets(states, due=asked, now=now),
            *self._of_unread(now),
            *(waits.of_country(country, *texts) for country, texts in capped.items()),
            *(need for one in stands for need in one.attention),
            *(waits.of_refused_events(queue, *of) for queue, of in refused),
            *waits.of_webhooks(*waiting.webhooks_to_check(self.database)),
            *self._of_batches(now, importing=importing),
        ]
        accounts = {}
        for name, rule in self.rules.all().items():
            state = states.get(rule.name, BudgetState())
            why_stopped = (state.stop_reason or "stopped") if state.stopped_at is not None else None
            accounts[name] = {"stopped": why_stopped, **_pause(state, now)}
            accounts[name] |= {"no_answer": silence_of(state, now=now) or None, "credits_used": state.credits_used}
        return OperationReport(
            now,
            running,
            due,
            needs,
            accounts,
            stopped,
            idle,
            left_alone,
            unwritable,
            stands,
            _by_batch(missing),
            blocked=[shut[name] for name in sorted((asked | waited_for) & shut.keys())],
            unheard=unheard,
            beat_at=None if wakening.beat_is_missing(now) else wakening.beat_at,
        )

    def of_accounts(self, *, now: datetime) -> list[dict[str, Any]]:
        """What is reported of each account, then of each sender."""
        states, accounts = Budgets(self.database).all(), self.settings.accounts
        takers: dict[str, list[str]] = {}
        for what in self.takeovers.possible(states):
            takers.setdefault(what.source, []).append(what.target)
        in_use = leases.in_use(self.database, now=now)
        every = [(name, rule, states.get(rule.name, BudgetState())) for name, rule in self.rules.all().items()]
        return [
            {
                "account": name,
                "provider": accounts[name].provider if name in accounts else SENDER,
                "budget": rule.name,
                "limits": [str(limit) for limit in rule.at(state.ramp_from, now).limits],
                **({"ramp": str(rule.ramp)} if rule.ramp is not None else {}),
                "limit_found": found_in_words(rule, state),
                "concurrency": rule.concurrency,
                # Unknown for a sender whose connections are counted in each process.
                "places_in_use": None if rule.each_process else in_use.get(rule.name, 0),
                # A sender's messages are not counted.
                "credits_used": state.credits_used if name in accounts else None,
                "credits_left": credits_left(state, rule),
                **({"credit_caps": _credit_caps(state, rule, now)} if rule.credits_by else {}),
                **_pause(state, now),
                "stopped_at": written_if_any(state.stopped_at),
                "stop_reason": state.stop_reason or None,
                "asks_again_at": written_if_any(state.asks_again_at),
                "no_answer": silence_of(state, now=now) or None,
                "failures": state.failures,
                "breaker_opened_at": written_if_any(state.opened_at),
                **_used_up(name, rule, state, now=now),
                "taken_over_by": takers.get(name, []),
            }
            for name, rule, state in every
        ]

    def _missing(self) -> dict[tuple[str, str], Mapping[int, int]]:
        """What rows need and the configuration does not have: accounts, brands, channels, and the right to set what
        they set at an account. The rows by batch."""
        every = {
            "account": waiting.of_other_accounts(self.database, self.rules.accounts),
            "brand": waiting.of_other_brands(self.database, self.settings.brands),
            "right": waiting.without_right(self.database),
            "sender": waiting.of_other_channels(self.database, self.rules.channels),
        }
        return {(what, name): rows for what, found in every.items() for name, rows in sorted(found.items())}

    def _of_budgets(self, states: Mapping[str, BudgetState], *, due: Collection[str], now: datetime) -> list[Wait]:
        """The stopped accounts and senders, and those whose calls have failed for minutes. Accounts that share a budget
        are named together."""
        stops, failing = [], []
        for rule in sorted({rule.name: rule for rule in self.rules.all().values()}.values(), key=attrgetter("called")):
            what, called, names = self._kind(rule), rule.called, rule.names
            state = states.get(rule.name, BudgetState())
            if state.stopped_at is not None:
                # One call asks again: the credentials are refused, or the set-up.
                known = self.settings.accounts.get(names[0]) if state.asks_again_at is not None else None
                keys = known.credentials_in_words(self.settings.sources) if known is not None else ""
                stops.append(waits.of_stop(what, called, state.stop_reason, state.stopped_at, credentials=keys))
            elif state.opened_at is None or now - state.opened_at < waits.FAILING_AFTER:
                continue
            elif why := waits.outage_of(state, now=now, due=any(name in due for name in names)):
                failing.append(Wait(what, called, why, "onboard account list", since=state.opened_at))
        return [*stops, *failing]

    def _kind(self, rule: BudgetRule) -> str:
        return "sender" if rule.names[0] in self.rules.channels else "account"

    def _of_unread(self, now: datetime) -> list[Wait]:
        """The codes of providers and senders that our tables do not have."""
        rules = {rule.name: rule for rule in self.rules.all().values()}
        return [
            waits.of_unread(self._kind(rule), rule.called, one.code, one.number, one.first_at)
            for one in unread_codes(self.database, now=now)
            if (rule := rules.get(one.budget)) is not None
        ]

    def _shut(self, states: Mapping[str, BudgetState], now: datetime) -> dict[str, Wait]:
        """The stopped and paused accounts and senders, and those at their limit, whose work no account takes over."""
        sources = {takeover.source for takeover in self.takeovers.possible(states)}
        strongest = (each[0] for each in of_accounts(self.rules.all(), states, now=now).values())
        return {one.name: one for one in strongest if one.name not in sources and one.reason != Reason.UNREACHABLE}

    def _of_batches(self, now: datetime, *, importing: bool) -> list[Wait]:
        found = []
        for batch in [] if importing else waiting.cut_off(self.database):
            again = f"onboard import {'-' if batch.name == STDIN else shlex.quote(batch.name)}"
            why = "its import was cut off: not all of its rows are here"
            found.append(_of_batch(batch, why, again, since=batch.created_at))
        unsent = waiting.unsent(self.database, now=now)
        paused = {batch.id: (batch, 0) for batch in waiting.paused_themselves(self.database)}
        paused |= {one.batch.id: (one.batch, one.rows) for one in unsent if one.batch.is_paused}
        for _, (batch, rows) in sorted(paused.items()):
            why = f"{rows_left(rows)}: {batch.pause_reason}" if rows else batch.pause_reason
            found.append(_of_batch(batch, why, f"onboard resume {batch.id}", since=batch.paused_at))
        for batch, rows in waiting.credits_spent(self.database):
            if not batch.is_paused:
                why = f"{rows_wait(rows)}: {Reason.CREDITS_SPENT.meaning}"
                found.append(_of_batch(batch, why, f"onboard resume {batch.id} --most-credits N"))
        for batch, rows, since in waiting.held(self.database):
            why = waits.rows_in_words(0, held=rows)
            found.append(_of_batch(batch, why, f"onboard report {batch.id}", since=since))
        return found


def _by_batch(missing: Mapping[tuple[str, str], Mapping[int, int]]) -> dict[int, list[Wait]]:
    found: dict[int, list[Wait]] = {}
    for (what, name), by_batch in missing.items():
        for batch_id, rows in by_batch.items():
            found.setdefault(batch_id, []).append(waits.of_missing(what, name, {batch_id: rows}))
    return found


def _of_batch(batch: BatchFacts, why: str, command: str, *, since: datetime | None = None) -> Wait:
    return Wait("batch", f"{batch.id} ({batch.name})", why, command, since=since, batch_id=batch.id)


def _until(one: Wait) -> str:
    if one.action:
        return "stopped"
    pause = one.reason == Reason.ACCOUNT_PAUSED
    return f"{'paused' if pause else f'{one.detail} is used up'} until {written_if_any(one.until)}"


def _pause(state: BudgetState, now: datetime) -> dict[str, Any]:
    until = state.paused_until(now)
    return {"paused_until": written_if_any(until), "pause_reason": state.why_paused if until else None}


def state_in_words(item: Mapping[str, Any]) -> str:
    """What an account does now, and why; the first word is stopped, paused, silent, waiting or working."""
    if item["stopped_at"]:
        again = waits.asks_again(item["asks_again_at"] or "")
        return f"stopped since {item['stopped_at']}: {item['stop_reason']}{again}"
    if item["paused_until"]:  # the reason names the breaker if the breaker paused it
        return f"paused until {item['paused_until']}: {item['pause_reason']}"
    if item["no_answer"]:
        return f"silent: no answer at the last call: {item['no_answer']}"
    if item.get("next_call_at"):
        return f"waiting until {item['next_call_at']}: it has used up {item['used_up']}"
    return WORKING


def _used_up(name: str, rule: BudgetRule, state: BudgetState, *, now: datetime) -> dict[str, Any]:
    found = (one for one in of_account(name, rule, state, now=now) if one.reason == Reason.LIMIT_USED_UP)
    return next(({"next_call_at": written_if_any(one.until), "used_up": one.detail} for one in found), {})


def _credit_caps(state: BudgetState, rule: BudgetRule, now: datetime) -> list[dict[str, Any]]:
    """The caps by period: what is used of each in the period of now, and when the next begins."""
    spent, found = state.spent.at(now), []
    for cap in rule.credits_by:
        used, until = spent.of(cap.period), end_of(cap.period, day_of(now))
        found.append({"cap": str(cap), "used": used, "left": max(cap.count - used, 0), "until": written(until)})
    return found
