"""Every column with encrypted values or digests is known, so that no key is retired while a column needs it."""

import sqlalchemy as sa

from onboarding_worker.core.database.schema import all_tables
from onboarding_worker.wiring.store.encrypted_columns import DIGESTS, ENCRYPTED

# A plain SHA-256, without a key: of a file's bytes, of the random text of a cookie.
WITHOUT_A_KEY = {"batch.digest", "dropped_file.digest", "log_in.digest", "uploaded_list.digest"}


def columns_where(holds):
    return {f"{table.name}.{column.name}" for table in all_tables() for column in table.c if holds(column)}


def named(column):
    return f"{column.table.name}.{column.key}"


def test_every_column_of_bytes_is_one_that_keys_are_rotated_in():
    known = {named(column.value) for column in ENCRYPTED}
    assert known == columns_where(lambda column: isinstance(column.type, sa.LargeBinary))


def test_every_column_of_digests_is_one_whose_keys_are_counted():
    known = {named(column.digest) for column in DIGESTS}
    assert known == columns_where(lambda column: "digest" in column.name) - WITHOUT_A_KEY
