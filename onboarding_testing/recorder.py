"""The far side of a service's sender in tests: it keeps the calls, and has the answers that it is given."""

from datetime import timedelta

from worker.core.model.http_messages import Broken, HttpAnswer, HttpRequest, MayWrite


class Recorder:
    """Keeps the calls of a service's sender. Answers with `answers` in order, then with `otherwise`."""

    otherwise = HttpAnswer(503, {}, b"")  # of a service that is busy

    def __init__(self, *answers: HttpAnswer | Broken) -> None:
        self.answers = list(answers)
        self.requests: list[HttpRequest] = []
        self.timeouts: list[timedelta] = []
        self.closed = 0

    async def call(
        self,
        request: HttpRequest,
        *,
        timeout: timedelta,  # noqa: ASYNC109
        may_write: MayWrite | None = None,
    ) -> HttpAnswer | Broken:
        if may_write is not None and not may_write(False):
            return Broken(sent=False, detail="too late to be written")
        self.requests.append(request)
        self.timeouts.append(timeout)
        return self.answers.pop(0) if self.answers else self.otherwise

    async def close(self) -> None:
        self.closed += 1
