"""A sender that only keeps its messages, for tests and trials without a relay."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from worker.core.model.endings import Kind, Problem
from worker.core.unknown.reconciliation import Nothing, Unmatched
from worker.senders.contract import TOO_LATE, MayWrite, Message, Receipt


class FakeSender:
    """Returns `answers` in order, one for each message, and then receipts.

    `messages` has the accepted messages; a message that got a Problem is in `refused`. `found` has the results of the
    look-ups in order, and after them they find nothing; None: it has no look-up. `asked` has the links that look-ups
    were made for. `preflights` are the results of log-ins, and then all are accepted; `logins` counts them.
    """

    def __init__(
        self,
        answers: Iterable[Receipt | Problem] = (),
        *,
        hold_unknown: bool = False,
        found: Iterable[Receipt | Nothing | Unmatched | Problem] | None = None,
        preflights: Iterable[Problem | None] = (),
    ) -> None:
        self.messages: list[Message] = []
        self.refused: list[Message] = []
        self.closed = False
        self._answers: Iterator[Receipt | Problem] = iter(answers)
        self._hold_unknown = hold_unknown
        self._found = None if found is None else iter(found)
        self.asked: list[str] = []
        self._preflights = iter(preflights)
        self.logins = 0

    def repeatable(self) -> bool:
        return not self._hold_unknown

    async def preflight(self) -> Problem | None:
        self.logins += 1
        return next(self._preflights, None)

    async def send(self, message: Message, may_write: MayWrite | None = None) -> Receipt | Problem:
        if may_write is not None and not may_write(False):
            return TOO_LATE
        answer = next(self._answers, None) or Receipt(f"fake-{len(self.messages) + 1}")
        (self.refused if isinstance(answer, Problem) else self.messages).append(message)
        return answer

    @property
    def no_look_up(self) -> str:
        return "the fake sender has no look-up" if self._found is None else ""

    async def look_up(
        self, to: str, link: str, *, since: datetime, known: frozenset[str]
    ) -> Receipt | Nothing | Unmatched | Problem:
        self.asked.append(link)
        if self._found is None:
            return Problem(Kind.BAD_INPUT, self.no_look_up)
        return next(self._found, Nothing())

    async def close(self) -> None:
        self.closed = True
