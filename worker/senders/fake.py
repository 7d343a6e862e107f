"""A sender that keeps what it was given: for tests, and for trying a story without a relay."""

from collections.abc import Iterable, Iterator

from worker.endings import Problem
from worker.senders.contract import Message, Receipt


class FakeSender:
    """Answers with `answers`, one for each message in turn, and with a receipt once they are used up.

    `messages` are those that it took; a message answered with a Problem is in `refused`.
    """

    def __init__(self, answers: Iterable[Receipt | Problem] = (), *, hold_unknown: bool = False) -> None:
        self.messages: list[Message] = []
        self.refused: list[Message] = []
        self.closed = False
        self._answers: Iterator[Receipt | Problem] = iter(answers)
        self._hold_unknown = hold_unknown

    def repeatable(self) -> bool:
        return not self._hold_unknown

    async def send(self, message: Message) -> Receipt | Problem:
        answer = next(self._answers, None) or Receipt(f"fake-{len(self.messages) + 1}")
        (self.refused if isinstance(answer, Problem) else self.messages).append(message)
        return answer

    async def close(self) -> None:
        self.closed = True
