"""The rows of details that wait: which are kept, let go, replaced or dropped among their neighbours."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import BatchPlan, CustomerRow, Job, PendingDetails
from onboarding_worker.core.model.customers import CustomerKind
from onboarding_worker.core.rows import pending_details
from onboarding_worker.plans.store.plans import Plan
from tests.stored.shelf import customer

NAMES = ("Ona", "Jonas", "Rasa", "Eva")


@pytest.fixture
def kept(shelf):
    """Four rows: the details of Ona and Eva wait, Jonas's are stored as his already, and Rasa has none that wait."""
    shelf.add(*map(customer, NAMES))
    shelf.ids = {name: shelf.job(name).id for name in NAMES}
    many = len(NAMES)
    columns = {name: [""] * many for name in ("country", "locale", "timezone")}
    columns |= {"customer_id": list(NAMES), "kind": [CustomerKind.INDIVIDUAL] * many}
    columns["encrypted"] = [name.encode() for name in NAMES]
    with shelf.database.write() as connection:
        pending_details.keep(
            connection,
            list(shelf.ids.values()),
            columns,
            waiting={"Ona", "Eva"},
            new={"Jonas"},
            due_at=None,
            now=shelf.clock(),
        )
    return shelf


def left(shelf):
    return {row.customer_id for row in shelf.rows(PendingDetails)}


def done(shelf, of, *given, **how):
    with shelf.database.write() as connection:
        return of(connection, *given, **how)


def test_the_details_of_customers_who_are_known_wait_and_those_of_new_ones_are_only_marked(kept):
    rows = {row.customer_id: (row.job_id, row.encrypted, row.given_at, row.due_at) for row in kept.rows(PendingDetails)}
    ids, now = kept.ids, kept.clock()
    assert rows == {
        "Ona": (ids["Ona"], b"Ona", now, None),
        "Eva": (ids["Eva"], b"Eva", now, None),
        "Jonas": (ids["Jonas"], None, now, None),
    }
    found = done(kept, pending_details.waiting_among, [ids["Ona"], ids["Jonas"], ids["Rasa"]])
    assert found == {ids["Ona"]: None}


@pytest.mark.parametrize("hours", [None, 2])
def test_a_row_that_is_let_go_is_due_since_its_import_or_from_its_lists_start(kept, hours):
    start = hours and kept.clock() + timedelta(hours=hours)
    how = {"name": "planned", "digest": "planned", "again": False, "now": kept.clock()}
    kept.batches.open(**how, plan=Plan(per_hour=60))
    kept.set(BatchPlan, batch_id=kept.job("Ona").batch_id, start_at=start)
    kept.clock.advance(hours=1)
    done(kept, pending_details.let_go, [kept.ids["Ona"], kept.ids["Jonas"]])
    due = {row.customer_id: row.due_at for row in kept.rows(PendingDetails)}
    expected = start or kept.row(PendingDetails, customer_id="Ona").given_at
    assert due == {"Ona": expected, "Jonas": expected, "Eva": None}


def test_what_replaces_a_customers_details_unmarks_them_and_leaves_those_that_wait(kept):
    done(kept, pending_details.settled, ["Ona", "Jonas"])
    assert left(kept) == {"Ona", "Eva"}
    done(kept, pending_details.settled, ["Rasa"])
    assert left(kept) == {"Ona", "Eva"}


def wiped(shelf):
    return {row.customer_id for row in shelf.rows(CustomerRow) if row.encrypted is None}


def test_a_cancelled_rows_details_go_and_only_what_is_stored_as_its_own_is_wiped(kept):
    before = {row.customer_id: row for row in kept.rows(CustomerRow)}
    kept.clock.advance(hours=1)
    done(kept, pending_details.drop, [kept.ids["Rasa"]], now=kept.clock())
    assert left(kept) == {"Ona", "Eva", "Jonas"}
    done(kept, pending_details.drop, [kept.ids["Ona"], kept.ids["Jonas"]], now=kept.clock())
    assert (left(kept), wiped(kept)) == ({"Eva"}, {"Jonas"})
    after = {row.customer_id: row for row in kept.rows(CustomerRow)}
    jonas = after.pop("Jonas")
    assert after == {name: row for name, row in before.items() if name != "Jonas"}
    assert (jonas.email_digest, jonas.country, jonas.details_at, jonas.changed_at) == (None, "", None, kept.clock())


@pytest.mark.parametrize("own", [True, False])
def test_what_another_row_that_is_not_released_brought_too_stays_until_that_row_goes(kept, own):
    other = {"job_id": kept.ids["Rasa"], "customer_id": "Jonas", "encrypted": None if own else b"Jonas"}
    row = kept.row(PendingDetails, customer_id="Jonas")._asdict() | other
    with kept.database.write() as connection:
        connection.execute(sa.insert(PendingDetails), row)
    done(kept, pending_details.drop, [kept.ids["Jonas"]], now=kept.clock())
    assert wiped(kept) == (set() if own else {"Jonas"})


def test_the_line_of_a_customer_whose_details_go_with_it_is_erased_and_that_of_one_who_stays_is_not(kept):
    kept.set(Job, encrypted=b"a line")
    done(kept, pending_details.drop, [kept.ids["Ona"], kept.ids["Jonas"]], now=kept.clock())
    assert {row.customer_id for row in kept.rows(Job) if row.encrypted == b""} == {"Jonas"}
