"""All stored times are aware UTC; a naive time is refused."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.schema import all_tables
from onboarding_worker.core.database.tables import Timer
from onboarding_worker.core.database.tables.types import UtcDateTime
from onboarding_worker.core.foundation.clock import system_clock

pytestmark = pytest.mark.both_databases

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
COLUMN = UtcDateTime()
DIALECTS = [sqlite.dialect(), postgresql.dialect()]


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_a_naive_time_is_refused(dialect):
    with pytest.raises(ValueError, match="naive"):
        COLUMN.process_bind_param(NOON.replace(tzinfo=None), dialect)


# The server's own zone must not matter. SQLite has none.
@pytest.mark.parametrize(
    ("fixture", "zone"), [("sqlite_url", ""), ("empty_postgresql_url", "?options=-c%20TimeZone%3DAsia%2FKathmandu")]
)
def test_a_time_of_any_zone_comes_back_as_the_same_moment_in_utc(fixture, zone, request):
    database = Database(request.getfixturevalue(fixture) + zone)
    with database.write() as connection:
        moment = NOON.astimezone(timezone(timedelta(hours=9)))
        connection.execute(sa.insert(Timer), {"name": "beat", "at": moment})
        (back,) = connection.execute(sa.select(Timer.at)).scalars()
    database.close()
    assert back == NOON
    assert back.tzinfo is UTC


def test_on_sqlite_a_time_is_kept_in_utc_so_that_it_sorts_as_text():
    plus_nine = NOON.astimezone(timezone(timedelta(hours=9)))
    assert COLUMN.process_bind_param(plus_nine, DIALECTS[0]) == NOON.replace(tzinfo=None)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_no_time_stays_no_time(dialect):
    assert COLUMN.process_bind_param(None, dialect) is None
    read = COLUMN.result_processor(dialect, None)
    assert read is None or read(None) is None


def test_every_time_of_every_table_is_kept_that_way():
    times = [column for table in all_tables() for column in table.columns if column.name.endswith("_at")]
    times += [c for table in all_tables() for c in table.columns if c.name.endswith("_until")]
    assert len(times) > 15
    assert {type(column.type) for column in times} == {UtcDateTime}


def test_the_clock_is_aware_utc():
    assert system_clock().utcoffset() == timedelta(0)
