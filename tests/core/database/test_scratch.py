"""The tests' databases: a reused database has no rows of earlier tests, and a cached statement has no old values."""

import pytest
import sqlalchemy as sa

from tests.stored.shelf import customer

pytestmark = pytest.mark.both_databases


@pytest.mark.parametrize("which", ["one", "another"])
def test_each_test_finds_every_table_empty_after_any_other_test(which, database, request):
    with database.read() as connection:
        names = set(sa.inspect(connection).get_table_names()) - {"alembic_version"}
        rows = {name: connection.execute(sa.select(sa.func.count()).select_from(sa.table(name))) for name in names}
        # The audit log's head has its row from the beginning.
        expected = dict.fromkeys(names, 0) | {"audit_head": 1}
        assert {name: counted.scalar_one() for name, counted in rows.items()} == expected
        assert connection.execute(sa.text("SELECT number FROM audit_head")).scalar_one() == 0
    shelf = request.getfixturevalue("shelf")
    shelf.add(customer("C1"), customer("C2"))
    shelf.issue()


@pytest.mark.parametrize("value", ["one", "another"])
def test_a_statement_that_another_test_built_has_this_tests_values(value, database):
    with database.read() as connection:
        assert connection.execute(sa.select(sa.literal(value))).scalar_one() == value
        assert connection.execute(sa.select(sa.literal(f"{value} again"))).scalar_one() == f"{value} again"
