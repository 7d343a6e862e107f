"""When no row that was opened before may be called: a result concerns the whole account, or the database is lost."""

import asyncio


class Halts:
    """`count`: a row that was opened under an earlier count is not called. `unwritten`: set from a result that halts
    until the flush that writes it begins."""

    def __init__(self) -> None:
        self.count = 0
        self.unwritten = asyncio.Event()

    def by_result(self) -> None:
        """A result concerns the whole account: until it is written, nothing is claimed either."""
        self.count += 1
        self.unwritten.set()

    def opened_rows(self) -> None:
        """The rows that are opened now may not be called."""
        self.count += 1
