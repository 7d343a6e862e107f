"""No personal data and no token is stored unencrypted, anywhere in the database."""

import json
import resource
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.schema import all_tables
from onboarding_worker.core.database.tables import CustomerRow, InvitationRow, SessionRow
from onboarding_worker.core.foundation.keyring import Keyring, new_key
from onboarding_worker.core.model.customers import Channel, Customer, Person
from onboarding_worker.core.model.endings import Hold, Kind
from onboarding_worker.core.model.states import InvitationState, JobState
from onboarding_worker.lists.lines import RefusedLine
from tests.stored.shelf import Shelf, customer
from tests.stored.steps import JobSteps

pytestmark = pytest.mark.both_databases

MARIA = Customer(
    customer_id="C-1",
    person=Person(
        email="maria.oesterberg@example.org",
        phone="+46701740605",
        first_name="Märia",
        last_name="Østerberg",
        company_name="Osterberg Holding",
        date_of_birth=date(1987, 3, 14),
        sex="F",
        nationality="SE",
        address="Storgatan 17, Umeå",
    ),
    country="SE",
    locale="sv",
    channel=Channel.BOTH,
    external_ref="crm-4711-maria",
    tags=("tag-of-maria",),
    parameters={"idenfy-kyc": {"address": "parameter of maria"}},
)
SECRETS = [
    "maria",
    "oesterberg",
    "+46701740605",
    "46701740605",
    "Märia",
    "Østerberg",
    "Osterberg Holding",
    "1987-03-14",
    "Storgatan",
    "Umeå",
    "crm-4711",
    "tag-of-maria",
    "parameter of maria",
    "t0ken-of-hers",
    "verify.test",
    "d1git-string",
    "vendor-s3cret",
]


def all_the_way(shelf: Shelf) -> Shelf:
    """A customer through all steps: imported, called for, with an unknown outcome, issued, sent."""
    shelf.add(MARIA, customer("C-2"), refused=[RefusedLine(9, "C-3")])
    maria, other = shelf.open(shelf.claim())
    session = shelf.session(
        token="t0ken-of-hers",
        link="https://verify.test/t0ken-of-hers",
        digit_string="d1git-string",
        vendor_parameters={"key": "vendor-s3cret"},
    )
    shelf.finish(shelf.got(maria, session), shelf.failed(other, Kind.UNKNOWN, Hold("unknown", "connection reset")))
    shelf.send()
    shelf.claim_messages(channel="sms")
    return shelf


@pytest.fixture
def full(shelf: Shelf) -> Shelf:
    return all_the_way(shelf)


def everything(shelf: Shelf) -> str:
    """Every value of every table, bytes included, as one text."""
    values = []
    with shelf.database.read() as connection:
        for table in all_tables():
            for row in connection.execute(sa.text(f'SELECT * FROM "{table.name}"')):  # noqa: S608 -- our own names
                values += [
                    value.decode("latin-1") if isinstance(value, bytes | memoryview) else str(value) for value in row
                ]
    return "\n".join(values)


def test_no_column_of_any_table_holds_a_secret_unencrypted(full):
    stored = everything(full)
    assert "C-1" in stored  # the list owner's own id is not personal data
    for secret in SECRETS:
        assert secret not in stored
        assert secret.encode().decode("latin-1") not in stored
        assert json.dumps(secret)[1:-1] not in stored


def test_the_sqlite_file_and_its_log_hold_no_secret_unencrypted(sqlite_url, keyring, clock):
    database = Database(sqlite_url)
    all_the_way(Shelf(database, keyring, clock))
    file = Path(database.engine.url.database)
    written = {path.name: path.read_bytes() for path in file.parent.glob(f"{file.name}*")}
    database.close()
    assert len(written) >= 2  # the file and its write-ahead log
    assert any(b"C-1" in content for content in written.values())
    for content in [*written.values(), file.read_bytes()]:
        for secret in SECRETS:
            assert secret.encode() not in content
            assert json.dumps(secret)[1:-1].encode() not in content


def test_another_key_decrypts_nothing_and_the_row_is_held_with_the_name_of_the_missing_key(full):
    full.add(replace(MARIA, purpose="renewal"))
    stranger = JobSteps(full.database, Keyring([new_key()]))
    assert stranger.claim(full.policy, most=10, now=full.clock()).jobs == []
    held = full.job("C-1", purpose="renewal")
    assert (held.state, held.reason, held.lease_until) == (JobState.HELD, "cannot_open", None)
    assert "older key missing" in held.detail
    for secret in SECRETS:
        assert secret not in held.detail


def test_a_customers_fields_copied_to_another_customer_do_not_decrypt_and_block_no_other_customer(full):
    with full.database.read() as connection:
        stolen = connection.execute(
            sa.select(CustomerRow.encrypted).where(CustomerRow.customer_id == "C-1")
        ).scalar_one()
    full.add(customer("C-5"), customer("C-6"))
    full.set(CustomerRow, CustomerRow.customer_id == "C-5", encrypted=stolen)
    assert [job.customer.customer_id for job in full.claim()] == ["C-6"]
    assert "C-5 was changed or belongs to another row" in full.job("C-5").detail


def test_a_link_that_does_not_decrypt_is_held_with_its_job_and_blocks_no_other_message(shelf):
    shelf.add(customer("C-5"), customer("C-6"))
    shelf.issue()
    (stolen,) = [row.encrypted for row in shelf.rows(SessionRow, customer_id="C-6")]
    shelf.set(SessionRow, SessionRow.customer_id == "C-5", encrypted=stolen)
    assert [message.customer.customer_id for message in shelf.claim_messages()] == ["C-6"]
    (held,) = [row for row in shelf.rows(InvitationRow) if row.state is InvitationState.HELD]
    assert (held.reason, held.job_id, held.lease_until) == ("cannot_open", shelf.job("C-5").id, None)
    assert (shelf.job("C-5").state, shelf.job("C-5").reason) == (JobState.HELD, "cannot_open")


def test_a_disk_that_is_full_when_the_log_is_emptied_is_an_outage_as_at_any_statement(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/small.db")
    with database.write() as connection:
        connection.execute(sa.text("CREATE TABLE thing (text TEXT)"))
        connection.execute(sa.text("INSERT INTO thing VALUES (:text)"), {"text": "x" * 100_000})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
    try:
        with pytest.raises(sa.exc.OperationalError):
            database.forget_erased()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert database.forget_erased()
    database.close()
