"""PostgreSQL: the connections of `unanswered`."""

from contextlib import AbstractContextManager, suppress
from typing import Any

import psycopg
from psycopg.rows import TupleRow


class GoesOn(psycopg.Connection[TupleRow]):
    """A connection that can send statements before the answers to earlier ones have come."""

    _pipeline_mode: AbstractContextManager[Any] | None = None  # entered while answers are outstanding

    @property
    def goes_on(self) -> bool:
        """Whether answers are outstanding."""
        return self._pipeline_mode is not None

    def go_on(self) -> None:
        """Wait for no answer until `catch_up`, or until the transaction ends."""
        if self._pipeline_mode is None:  # a statement that raised before it was sent has left it open
            self._pipeline_mode = self.pipeline()
            self._pipeline_mode.__enter__()

    def catch_up(self) -> None:
        """Wait for all answers. Raises the first error."""
        if self._pipeline_mode is not None:
            mode, self._pipeline_mode = self._pipeline_mode, None
            mode.__exit__(None, None, None)

    def commit(self) -> None:
        if not self.goes_on:
            super().commit()
            return
        self.execute("COMMIT")  # psycopg's own commit would wait twice
        self.catch_up()

    def rollback(self) -> None:
        with suppress(psycopg.Error):  # of a statement that is rolled back
            self.catch_up()
        super().rollback()

    def close(self) -> None:
        if self.closed:  # the server is gone, and with it the answers
            with suppress(psycopg.Error):  # else psycopg logs it as a warning whenever it is collected as garbage
                self.catch_up()
        super().close()
