"""Asks senders whether they work before sessions are bought for their messages.

A session costs money, and its link is worth nothing if no message can leave. So a process that begins to work doubts
its senders (`Budgets.doubt`), and issuing waits for a sender that is doubted or has not answered
(`limits.backpressure`). A log-in that succeeds, or a message that is accepted, ends the doubt.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from worker.core.foundation.clock import Clock, monotonic
from worker.core.foundation.outage_log import Outage
from worker.core.limits.budgets import BudgetRule
from worker.core.limits.lessons import Lesson
from worker.core.limits.store.budgets import Budgets
from worker.core.work.store.attempt_log import lesson_of
from worker.core.work.store.claim_jobs import Jobs
from worker.senders.contract import Sender

log = logging.getLogger(__name__)


class Preflight:
    """Tries the senders of one process."""

    def __init__(
        self,
        senders: Callable[[], Mapping[str, Sender]],
        rules: Mapping[str, BudgetRule],
        *,
        budgets: Budgets,
        jobs: Jobs,
        clock: Clock,
        in_thread: Callable[..., Awaitable[Any]],
    ) -> None:
        """`senders` and `rules` by channel; `in_thread(function, *arguments)` awaits a blocking call."""
        self._senders, self._rules = senders, rules
        self._budgets, self._jobs, self._clock = budgets, jobs, clock
        self._in_thread = in_thread
        self._outages: dict[str, Outage] = {}

    async def prove(self, channel: str) -> None:
        """Log in to the channel's sender, if it has not answered and is neither paused nor stopped."""
        rule = self._rules[channel]
        if not await self._in_thread(self._is_unproven, rule):
            return
        began_at = self._clock()
        problem = await self._senders()[channel].preflight()
        if problem is not None:
            outage = self._outages.setdefault(channel, Outage(log, logging.WARNING))
            outage.lasts(f"{channel} does not work", monotonic(), why=problem.detail)
        else:
            self._outages.pop(channel, None)  # the budget's line says that it answers again
        await self._in_thread(self._tried, rule, lesson_of(began_at, problem))

    def _is_unproven(self, rule: BudgetRule) -> bool:
        return self._budgets.unproven(rule.name, now=self._clock())

    def _tried(self, rule: BudgetRule, lesson: Lesson) -> None:
        now: datetime = self._clock()
        self._budgets.tried(rule, lesson, now=now)
        if lesson.kind is None:
            self._jobs.make_waiting_jobs_due(now=now)
