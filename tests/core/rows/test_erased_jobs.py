"""What is erased with a customer's jobs, and what stays."""

from uuid import uuid4

import sqlalchemy as sa

from onboarding_worker.core.database.encrypted_values import ERASED
from onboarding_worker.core.database.tables import (
    Attempt,
    CustomerRow,
    InvitationRow,
    Job,
    Outbox,
    PendingDetails,
    SessionRow,
    Webhook,
)
from onboarding_worker.core.model.customers import CustomerKind
from onboarding_worker.core.model.sessions import EXTERNAL_REF
from onboarding_worker.core.model.states import SessionState
from onboarding_worker.core.rows.erased_jobs import erase_again, erase_jobs
from tests.stored.shelf import customer

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


def written(shelf, model, rows):
    with shelf.database.write() as connection:
        connection.execute(sa.insert(model), rows)


def test_copies_of_webhooks_about_these_jobs_are_erased_unless_they_are_still_to_be_applied(shelf):
    ids, now = issued(shelf), shelf.clock()
    session = {row.customer_id: row.id for row in shelf.rows(SessionRow)}
    message = {row.job_id: row.id for row in shelf.rows(InvitationRow)}
    ona, rasa, kept = ids["Ona"], ids["Rasa"], b"a copy"
    same = {"source": "account/kyc", "received_at": now, "state": "applied", "attempts": 1, "detail": ""}
    same |= {"due_at": None, "encrypted": kept, "session_id": None, "invitation_id": None}
    rows = {
        "of a session": {"session_id": session["Ona"]},
        "of a message": {"invitation_id": message[ona]},
        "to be applied": {"session_id": session["Ona"], "due_at": now},
        "of another session": {"session_id": session["Rasa"]},
        "of another message": {"invitation_id": message[rasa]},
        "of none": {},
        "empty": {"session_id": session["Ona"], "encrypted": None},
    }
    written(shelf, Webhook, [{"id": uuid4(), "digest": name, "event": name} | same | row for name, row in rows.items()])
    with shelf.database.write() as connection:
        counted = erase_jobs(connection, [ona])
    assert counted["copies of webhooks"] == 2
    copies = {row.event: row.encrypted for row in shelf.rows(Webhook)}
    assert {name for name, copy in copies.items() if copy is None} == {"of a session", "of a message", "empty"}


def test_details_that_wait_and_values_of_a_line_are_erased_where_there_are_any(shelf):
    ids = issued(shelf)
    same = {"country": "", "locale": "", "timezone": "", "kind": CustomerKind.INDIVIDUAL, "given_at": shelf.clock()}
    kept = {"Ona": b"x"}  # of the others, marks alone
    rows = [{"job_id": id_, "customer_id": name, "encrypted": kept.get(name)} | same for name, id_ in ids.items()]
    written(shelf, PendingDetails, rows)
    for name, values in (("Ona", None), ("Jonas", ERASED)):
        shelf.set(Job, Job.customer_id == name, encrypted=values)
    with shelf.database.write() as connection:
        counted = erase_jobs(connection, [ids["Ona"], ids["Jonas"]])
    assert (counted["details that waited"], counted["values of lists"]) == (1, 0)
    assert [row.customer_id for row in shelf.rows(PendingDetails)] == ["Rasa"]
    assert {row.customer_id: row.encrypted for row in shelf.rows(Job)} == {
        "Ona": None,
        "Jonas": ERASED,
        "Rasa": b"a line",
    }


def test_events_that_are_not_published_name_the_session_by_its_job_too(shelf):
    ids, now = issued(shelf), shelf.clock()
    told = [
        ("Ona", {"job_id": 1, "session": "Ona Ltd"}),
        ("Ona", {"job_id": 2, "session": "another"}),
        ("Ona", {"job_id": 3}),
        ("Jonas", {"job_id": 4, "session": "scan-jonas"}),  # not named by the list's own reference
        ("Rasa", {"job_id": 5, "session": "Ona Ltd"}),
    ]
    same = {"kind": "told", "occurred_at": now, "due_at": now, "since": now, "attempts": 0, "detail": ""}
    rows = [{"event_id": uuid4(), "target": "bus", "customer_id": name, "data": data} | same for name, data in told]
    written(shelf, Outbox, rows)
    with shelf.database.write() as connection:
        erase_jobs(connection, [ids["Ona"], ids["Jonas"]])
    renamed = ("Ona", {"job_id": 1, "session": str(ids["Ona"])})
    assert [(row.customer_id, row.data) for row in shelf.rows(Outbox, kind="told")] == [renamed, *told[1:]]


def test_of_an_erased_customer_only_the_jobs_of_a_call_are_erased(shelf):
    ids = issued(shelf)
    shelf.set(CustomerRow, CustomerRow.customer_id != "Rasa", encrypted=None)
    with shelf.database.write() as connection:
        erase_again(connection, [ids["Ona"], ids["Rasa"]])
    assert [row.customer_id for row in shelf.rows(SessionRow) if row.encrypted == ERASED] == ["Ona"]
