"""What both kinds of work, `issue` and `invite`, do alike."""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from worker.core.foundation.clock import Clock
from worker.core.limits.store.claims import ClaimPolicy
from worker.core.limits.store.flush import Rows
from worker.core.messages.store.message_context import ClaimedInvitation
from worker.core.model.endings import Ending, Kind, Problem
from worker.core.model.meters import Meters
from worker.core.unknown.reconciliation import ending_of_reconciliation
from worker.core.work.second_look_work import SecondLook
from worker.core.work.step_endings import FLUSH_MARGIN, Result
from worker.core.work.store.job_context import ClaimedJob

PolicyT = TypeVar("PolicyT", bound=ClaimPolicy)
ItemT = TypeVar("ItemT", bound=ClaimedJob | ClaimedInvitation)
OpenedT = TypeVar("OpenedT")
ResultT = TypeVar("ResultT", bound=Result)


@dataclass(frozen=True, kw_only=True)
class SharedWork(ABC, Generic[PolicyT, ItemT, OpenedT, ResultT]):
    """A part of `dispatch.contract`."""

    policy: PolicyT
    rows: Rows[PolicyT, ItemT, OpenedT, ResultT]
    timeout: timedelta
    second_look: SecondLook
    clock: Clock
    jitter: Callable[[], float] = random.random
    meters: Meters = field(default_factory=Meters)

    @property
    def permits(self) -> int:
        return self.policy.rule.concurrency

    @property
    def longest_call(self) -> timedelta:
        return self.timeout + FLUSH_MARGIN

    @property
    def database_time(self) -> Callable[[], datetime] | None:
        return self.rows.database_time

    @abstractmethod
    def item(self, opened: OpenedT) -> ItemT: ...

    def halts(self, result: ResultT) -> bool:
        return result.problem is not None and result.problem.concerns_account

    def made(self, result: ResultT) -> bool:
        return result.ending is not None

    def release_permits(self) -> None:
        self.rows.release_permits(self.policy)

    def _crashed(self, opened: OpenedT, error: Exception, when: str) -> tuple[datetime, Ending, Problem]:
        """When a call has raised, how its step ends, and the problem. `when`: the words for what it was doing."""
        problem = Problem(Kind.UNKNOWN, f"the worker failed with {type(error).__name__} {when}")
        item, now = self.item(opened), self.clock()
        if item.unknown_call is None:
            return now, self._ending(opened, problem), problem
        retry = self.policy.rule.retry
        ending = ending_of_reconciliation(problem, item.unknown_call, item.attempts, retry, now, self.jitter())
        return now, ending, problem

    @abstractmethod
    def _ending(self, opened: OpenedT, problem: Problem) -> Ending: ...
