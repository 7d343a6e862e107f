"""What is erased with a customer's jobs, and what stays."""

from tests.stored.shelf import customer
from worker.core.customers.store.erased_jobs import erase_again, erase_jobs
from worker.core.database.encrypted_values import ERASED
from worker.core.database.tables import Attempt, CustomerRow, Job, SessionRow
from worker.core.model.sessions import EXTERNAL_REF
from worker.core.model.states import SessionState

NAMES = {"Ona": "Ona Ltd", "Rasa": "Rasa Ltd", "Jonas": "scan-jonas"}


def issued(shelf):
    """Customers with a session each; of two the provider names it by the list's external_ref."""
    shelf.add(*map(customer, NAMES))
    jobs = shelf.open(shelf.claim())
    for job in jobs:
        name = job.customer.customer_id
        references = {EXTERNAL_REF: f"{name} Ltd", "clientId": "C-1"}
        shelf.finish(shelf.got(job, shelf.session(reference=NAMES[name], references=references)))
    shelf.set(Attempt, encrypted=b"words")
    shelf.set(Job, encrypted=b"a line")
    return {name: shelf.job(name).id for name in NAMES}


def test_links_words_and_names_by_the_lists_own_reference_are_erased_of_these_jobs_alone(shelf):
    ids = issued(shelf)
    with shelf.database.write() as connection:
        counted = erase_jobs(connection, [ids["Ona"], ids["Jonas"]])
        again = erase_jobs(connection, [ids["Ona"]])
    erased = ("links and tokens", "words of providers and senders", "values of lists")
    assert [counted[what] for what in erased] == [2, 2, 2]
    assert [again[what] for what in erased] == [0, 0, 0]
    rows = {row.customer_id: row for row in shelf.rows(SessionRow)}
    kept = {name: (row.reference, row.references.get(EXTERNAL_REF)) for name, row in rows.items()}
    assert kept == {"Ona": (str(ids["Ona"]), None), "Jonas": ("scan-jonas", None), "Rasa": ("Rasa Ltd", "Rasa Ltd")}
    assert {row.references["clientId"] for row in rows.values()} == {"C-1"}
    assert [row.encrypted == ERASED for row in (rows["Ona"], rows["Jonas"], rows["Rasa"])] == [True, True, False]
    assert [row.job_id for row in shelf.rows(Attempt) if row.encrypted is not None] == [ids["Rasa"]]
    assert [row.id for row in shelf.rows(Job) if row.encrypted != ERASED] == [ids["Rasa"]]


def test_a_session_that_was_not_bought_yet_is_looked_at_no_more_and_an_opened_one_is(shelf):
    ids = issued(shelf)
    shelf.set(SessionRow, check_at=shelf.clock())
    shelf.set(SessionRow, SessionRow.customer_id != "Jonas", state=SessionState.DEFERRED)
    with shelf.database.write() as connection:
        erase_jobs(connection, [ids["Ona"], ids["Jonas"]])
    assert {row.customer_id for row in shelf.rows(SessionRow) if row.check_at is None} == {"Ona"}


def test_what_a_call_brings_for_an_erased_customer_is_erased_and_for_no_one_else(shelf):
    ids = issued(shelf)
    shelf.set(CustomerRow, CustomerRow.customer_id == "Ona", encrypted=None)
    with shelf.database.write() as connection:
        erase_again(connection, list(ids.values()))
    assert [row.customer_id for row in shelf.rows(SessionRow) if row.encrypted == ERASED] == ["Ona"]
