"""Commands that are killed between two of their transactions."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from worker.store.base.database import Database


class Killed(BaseException):
    """The process is killed."""


class MortalDatabase(Database):
    """The process that writes to it may be killed as its next transaction begins."""

    _left: int | None = None

    def kill_after(self, transactions: int, run: Callable[[], None]) -> bool:
        """Run this, and kill it after so many transactions that write. False: it was through by then."""
        self._left = transactions
        try:
            run()
        except Killed:
            return True
        finally:
            self._left = None
        return False

    @contextmanager
    def write(self, within: sa.Connection | None = None) -> Iterator[Any]:
        if self._left is not None and within is None:
            if not self._left:
                raise Killed
            self._left -= 1
        with super().write(within) as connection:
            yield connection
