"""The query by which Kubernetes decides how many workers there are (deploy/kubernetes/scaling.yaml), on the schema."""

from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml

from onboarding_worker.lists.decisions.store.emergency_stop import EmergencyStops
from onboarding_worker.wiring.store.encrypted_columns import ENCRYPTED
from tests.stored.shelf import customer

pytestmark = pytest.mark.postgresql_alone

FILE = Path(__file__).parents[3] / "deploy/kubernetes/scaling.yaml"
(TRIGGER,) = next(one for one in yaml.safe_load_all(FILE.read_text("utf-8")) if one["kind"] == "ScaledObject")["spec"][
    "triggers"
]
QUERY = TRIGGER["metadata"]["query"]


@pytest.fixture
def due(database) -> "int":
    def ask() -> int:
        with database.read() as connection:
            return int(connection.execute(sa.text(QUERY)).scalar_one())

    return ask


def test_it_counts_the_rows_and_messages_that_a_worker_could_work_now(shelf, due, decide, clock):
    assert due() == 0
    batch = shelf.add(*(customer(f"C{number}") for number in range(5)))
    assert due() == 5
    shelf.issue()
    assert due() == 5  # the messages
    shelf.send()
    assert due() == 0
    shelf.add(customer("Late"))
    decide.pause(batch + 1, by="ada", now=clock())
    assert due() == 0


def test_a_standstill_needs_no_workers(shelf, due, database, clock):
    shelf.add(customer("Ona"))
    EmergencyStops(database).stop(by="ada", reason="", now=clock())
    assert due() == 0


def test_it_reads_nothing_that_is_encrypted():
    """The role that reports may run it."""
    assert not [column.value.key for column in ENCRYPTED if column.value.key in QUERY.split()]
