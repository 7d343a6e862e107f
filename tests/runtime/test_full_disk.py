"""SQLite on a full disk: `run` ends with a clear message, and goes on when there is room again."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from onboarding_worker.core.dispatch import flushes
from tests.desk.desk import DATABASE, Desk, Played, customers
from tests.suite.some import some

NUMBER = 30


@contextmanager
def full_disk(desk: Desk) -> Iterator[None]:
    """No room for one page more, in all connections that are opened meanwhile."""
    with closing(sqlite3.connect(desk.path / DATABASE)) as database:
        most = database.execute("PRAGMA page_count").fetchone()[0]

    def limit(connection: Any, _record: Any) -> None:
        connection.execute(f"PRAGMA max_page_count = {most}")

    sa.event.listen(sa.Engine, "connect", limit)
    try:
        yield
    finally:
        sa.event.remove(sa.Engine, "connect", limit)


def test_a_run_ends_after_its_patience_and_goes_on_when_there_is_room(
    desk: Desk, played: Played, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(flushes, "STOP_PATIENCE", timedelta())
    monkeypatch.setattr(flushes, "DATABASE_RETRY", timedelta(milliseconds=50))
    desk.change('provider = "idenfy-kyc"', 'provider = "idenfy-kyc"\non_unknown = "hold"')
    file = desk.list_of(customers(NUMBER))
    desk.onboard("import", file)
    with full_disk(desk):
        ended = desk.onboard("run", file, "--patience", "0.2 s")
    assert ended.code == 1
    assert "for longer than --patience: database or disk is full (database.url: its disk is full)" in ended.err
    assert played.opened  # the attempts had room in a page, their results did not

    facts = desk.onboard("run", file, "--json").facts
    assert facts["rows"]["invited"] + facts["rows"]["held"] == NUMBER
    assert set(played.opened.values()) == {1}
    # A mail whose hand-over found no room leaves once more, as `[email] on_unknown` says: it is the same mail.
    assert all(len(ids) == 1 for ids in some(played.message_ids.values()))
