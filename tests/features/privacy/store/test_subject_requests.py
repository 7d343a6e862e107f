"""A customer is erased everywhere, with a proof, and stays erased; and can see all that is stored."""

import json
import shutil
from base64 import b64decode, b64encode
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

import pytest
import sqlalchemy as sa

from onboarding_worker.core.claim.flush import CallResult
from onboarding_worker.core.database.audit_entries import ACT, Act
from onboarding_worker.core.database.job_ids import new_id
from onboarding_worker.core.database.schema import all_tables
from onboarding_worker.core.database.tables import (
    Attempt,
    Audit,
    CustomerRow,
    Finished,
    Inbox,
    InvitationRow,
    Job,
    RefusedEvent,
    SessionRow,
    SkippedLine,
    StableLink,
    Suppression,
    Tombstone,
    UploadedList,
    UploadedPart,
    Webhook,
)
from onboarding_worker.core.foundation.keyring import Keyring, new_key
from onboarding_worker.core.foundation.notation import written
from onboarding_worker.core.model.channels import SuppressionReason
from onboarding_worker.core.model.endings import Cancel, Kind, Problem
from onboarding_worker.core.model.incoming import OPERATOR, EventKind, Outcome
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import InvitationState, JobState
from onboarding_worker.core.rows.suppressions import suppress
from onboarding_worker.events.standing import Arrival
from onboarding_worker.events.store.inbox import Inboxes
from onboarding_worker.events.store.refused_events import RefusedEvents, RefusedMessage
from onboarding_worker.features.privacy.store.subject_requests import SubjectRequests
from onboarding_worker.lists.known_customers import WAS_ERASED, KnownChoices
from onboarding_worker.lists.lines import RefusedLine
from onboarding_worker.lists.store.new_rows import BY_EVENT
from onboarding_worker.wiring.store.encrypted_columns import ENCRYPTED, uses_of_digest_keys
from tests.core.rows.test_pending_details import OTHER, PAUSED, TRUE
from tests.stored.shelf import add_lines, customer, line
from tests.suite.of_features import needs

ONA = customer("Ona", external_ref="ref-vilnius-7", tags=("marked-vip",))
REFUSED = Problem(Kind.BAD_INPUT, "HTTP 400", status=400, words="Invalid value 'Kazlauskas'")
# What of Ona may be found in the database in no form. The ids of the list's owner stay.
MARKERS = ("ona@example.org", "+37060000001", "Kazlauskas", "ref-vilnius-7", "marked-vip", "token-0001", "Vilnius 3")


@pytest.fixture
def acting(shelf):
    """The shelf, whose database says who acts."""
    shelf.database.engine.update_execution_options(**{ACT: Act("ops", "customer erase")})
    return shelf


@pytest.fixture
def requests(acting):
    return SubjectRequests(acting.database, acting.keyring)


def arrival(shelf, kind, customer_id="Ona", *, at=None, **more):
    accepted = replace(line(0, customer(customer_id))) if kind is EventKind.REQUESTED else None
    return Arrival(
        OPERATOR,
        "/crm",
        f"{kind} {new_id(shelf.clock())}",
        kind,
        customer_id,
        "onboarding" if kind in (EventKind.REQUESTED, EventKind.CANCELLED) else "",
        at or shelf.clock(),
        shelf.keyring.digests("event", f"{kind}{customer_id}"),
        line=accepted,
        **more,
    )


def take(shelf, *arrivals):
    return Inboxes(shelf.database, shelf.keyring).take(arrivals, now=shelf.clock()).receipts


@pytest.fixture
def ona(acting):
    """Ona with something in every place, and Jonas, of whom nothing may be lost."""
    shelf = acting
    shelf.add(ONA, customer("Jonas", tags=("other",)))
    (first, jonas) = shelf.open(shelf.claim())
    shelf.finish(shelf.got(first), shelf.got(jonas))
    shelf.send()
    # A second row of hers was refused by the provider, which quotes her.
    shelf.add(customer("Ona", purpose="again", template="vip"))
    (second,) = shelf.open(shelf.claim())
    shelf.finish(CallResult(second, shelf.clock(), Cancel(Reason.BAD_INPUT, "HTTP 400"), problem=REFUSED))
    take(shelf, arrival(shelf, EventKind.UPDATED, columns={"address": "Vilnius 3"}))
    content = {"body": b64encode(b'{"email": "ona@example.org"}').decode(), "envelope": "[]", "problems": ""}
    RefusedEvents(shelf.database, shelf.keyring).keep(
        [RefusedMessage("requests", "1", "why", "", "", 9, "Ona", content)], now=shelf.clock()
    )
    now, session = shelf.clock(), shelf.row(SessionRow, customer_id="Ona").id
    with shelf.database.write() as connection:
        suppress(connection, shelf.keyring, "email", "ona@example.org", SuppressionReason.STOP, source="x", now=now)
        values = {"id": new_id(now), "source": "account/kyc", "digest": "d", "event": "x", "attempts": 1}
        values |= {"received_at": now, "state": "applied", "due_at": None, "detail": "", "invitation_id": None}
        connection.execute(sa.insert(Webhook).values(values | {"session_id": session, "encrypted": b"copy"}))
    return shelf


def erase(requests, shelf, customer_id="Ona", *, reason="request 17", forget_suppressed=False):
    return requests.erase(customer_id, reason=reason, forget_suppressed=forget_suppressed, now=shelf.clock())


def readable(shelf, keyring=None) -> str:
    """All values of all tables, decrypted where a key decrypts them."""
    found, ring = [], keyring or shelf.keyring
    for table in all_tables():
        with shelf.database.read() as connection:
            found += [repr(tuple(row)) for row in connection.execute(sa.select(table))]
    for column in ENCRYPTED:
        with shelf.database.read() as connection:
            rows = connection.execute(sa.select(column.value, *column.named_by)).all()
        for value, *names in rows:
            if value and value != b"copy":
                decrypted = ring.decrypt(value, context=column.context(*names))
                found.append(json.dumps(decrypted, ensure_ascii=False))
                found.append(b64decode(decrypted.get("body") or "").decode())
    return "\n".join(found)


def test_before_the_erasure_each_marker_is_there(ona):
    text = readable(ona)
    assert [marker for marker in MARKERS if marker not in text] == []


def test_nothing_of_an_erased_customer_is_in_any_column_of_any_table(ona, requests):
    erase(requests, ona, forget_suppressed=True)
    text = readable(ona)
    # Jonas has the same number and family name.
    own = [marker for marker in MARKERS if marker not in ("+37060000001", "Kazlauskas")]
    assert [marker for marker in own if marker in text] == []
    ona.set(CustomerRow, CustomerRow.customer_id == "Jonas", encrypted=None)
    assert [marker for marker in MARKERS if marker in readable(ona)] == []


def test_the_proof_says_what_was_erased_and_the_audit_log_has_its_hash(ona, requests):
    proof = erase(requests, ona)
    assert proof.facts["erased"] == {
        "copies of webhooks": 1,
        "details that waited": 0,
        "jobs ended": 1,
        "links and tokens": 1,
        "persons": 1,
        "reasons of refusals": 0,
        "refused events": 1,
        "updates": 1,
        "values of lists": 1,
        "webhooks that match no session": 0,
        "words of providers and senders": 1,
    }
    assert proof.facts["kept"]["suppressed addresses found"] == 1
    assert json.loads(proof.text) == proof.facts
    assert proof.sha256 == sha256(f"{proof.text}\n".encode()).hexdigest()
    (entry,) = [row for row in ona.rows(Audit) if "proof" in row.reason]
    assert (entry.actor, entry.subject, entry.count) == ("ops", "customer Ona", 8)
    assert entry.reason == f"proof sha256 {proof.sha256}; request 17"


@pytest.mark.both_databases
def test_the_proof_counts_what_waits_with_a_row_that_is_not_released(acting, given, requests):
    def erased() -> dict[str, int]:
        facts = erase(requests, acting).facts["erased"]
        return {name: number for name, number in facts.items() if number}

    given(OTHER, **PAUSED)
    assert erased() == {"jobs ended": 1, "persons": 1}
    acting.set(Tombstone, sa.true(), digest="of another customer")
    given(TRUE)
    given(OTHER, **PAUSED)
    assert erased() == {"jobs ended": 2, "persons": 1, "details that waited": 1}


@pytest.mark.both_databases
def test_what_another_customer_asked_for_by_the_same_address_stays(ona, requests):
    """Jonas has Ona's number."""
    with ona.database.write() as connection:
        complaint = SuppressionReason.COMPLAINT
        suppress(connection, ona.keyring, "sms", "+37060000001", complaint, source="x", now=ona.clock())
    facts = erase(requests, ona, forget_suppressed=True).facts
    assert (facts["erased"]["suppressed addresses"], facts["kept"]["suppressed addresses found"]) == (1, 1)
    assert [row.channel for row in ona.rows(Suppression)] == ["sms"]


@pytest.mark.both_databases
def test_the_proof_and_an_export_name_the_uploaded_lists_that_may_have_the_customer(ona, requests):
    list_id = uploaded(ona)
    kept = "uploaded lists, until they are imported or discarded, 7 days at most"
    assert requests.export("Ona", now=ona.clock())["uploaded_lists_not_searched"] == [list_id]
    assert erase(requests, ona).facts["kept"][kept] == [list_id]


def uploaded(shelf) -> int:
    free = {"version": 1, "agreed": [], "tries": 0, "owner": "", "reason": "", "digest": "", "size": 9}
    values = free | {"name": "list.csv", "state": "arrived", "uploaded_by": "ann", "encrypted": b""}
    with shelf.database.write() as connection:
        made = sa.insert(UploadedList).values(values | {"uploaded_at": shelf.clock()}).returning(UploadedList.id)
        list_id = connection.execute(made).scalar_one()
        parts = [{"list_id": list_id, "what": "list", "number": number, "encrypted": b"x"} for number in (0, 1)]
        connection.execute(sa.insert(UploadedPart), parts)
    return list_id


def test_of_another_customer_nothing_is_lost(ona, requests):
    before = {table: ona.rows(table, customer_id="Jonas") for table in (CustomerRow, Job, SessionRow)}
    erase(requests, ona)
    assert {table: ona.rows(table, customer_id="Jonas") for table in (CustomerRow, Job, SessionRow)} == before


@pytest.mark.both_databases
def test_open_rows_end_and_nothing_more_is_sent(acting, requests):
    acting.add(ONA)
    acting.issue()
    erase(requests, acting)
    assert acting.job("Ona").state is JobState.CANCELLED
    messages = {(row.state, row.reason) for row in acting.rows(InvitationRow)}
    assert messages == {(InvitationState.SUPERSEDED, Reason.ERASED)}
    assert acting.claim_messages() == []


def test_an_erasure_twice_is_one_erasure(ona, requests):
    erase(requests, ona)
    again = erase(requests, ona)
    assert set(again.facts["erased"].values()) == {0}
    assert len(ona.rows(Tombstone)) == 1


def test_what_a_call_brings_that_was_on_its_way_is_erased_too(acting, requests):
    acting.add(ONA, customer("Jonas"))
    opened = acting.open(acting.claim())
    erase(requests, acting)
    erase(requests, acting, "Jonas")
    failed = CallResult(opened[1], acting.clock(), Cancel(Reason.BAD_INPUT, "HTTP 400"), problem=REFUSED)
    acting.finish(acting.got(opened[0]), failed)
    assert [row.encrypted for row in acting.rows(SessionRow)] == [b""]
    assert [row.encrypted for row in acting.rows(Attempt)] == [None, None]
    assert "token-0001" not in readable(acting)


def test_a_list_does_not_bring_an_erased_customer_back(ona, requests):
    erase(requests, ona)
    batch = ona.batch("new.csv")
    lines = [line(2, ONA), line(3, customer("Rasa"))]
    refused = add_lines(ona.batches, batch, lines, priority=10, now=ona.clock()).refused
    assert [(one.row, one.problems) for one in refused] == [(2, (WAS_ERASED,))]
    assert [row.customer_id for row in ona.rows(Job, batch_id=batch)] == ["Rasa"]
    (skipped,) = ona.rows(SkippedLine, batch_id=batch)
    assert skipped.problems[0]["problem"] == "the customer was erased on request"
    assert ona.row(CustomerRow, customer_id="Ona").encrypted is None


def test_a_list_brings_an_erased_customer_back_if_it_is_allowed_and_the_audit_log_says_so(ona, requests):
    erase(requests, ona)
    batch = ona.batch("new.csv")
    add = {"priority": 10, "now": ona.clock()}
    assert add_lines(ona.batches, batch, [line(2, ONA)], **add, choices=KnownChoices(allow_erased=True)).refused == []
    assert ona.row(CustomerRow, customer_id="Ona").encrypted is not None
    assert ona.rows(Tombstone) == []
    assert [row.subject for row in ona.rows(Audit) if "brought back" in row.reason] == ["customer Ona"]
    assert add_lines(ona.batches, batch, [line(3, replace(ONA, purpose="third"))], **add).refused == []


@pytest.mark.both_databases
def test_who_was_never_known_can_be_kept_out(acting, requests):
    assert not requests.is_known("Ona")
    erase(requests, acting)
    assert acting.rows(CustomerRow) == []
    (refused,) = add_lines(acting.batches, acting.batch(), [line(2, ONA)], priority=10, now=acting.clock()).refused
    assert refused.problems == (WAS_ERASED,)
    (receipt,) = take(acting, arrival(acting, EventKind.REQUESTED))
    assert (receipt.outcome, receipt.reason) == (Outcome.REFUSED, BY_EVENT)
    assert (acting.rows(CustomerRow), acting.rows(Inbox), acting.rows(Job)) == ([], [], [])


@pytest.mark.parametrize("kind", [EventKind.REQUESTED, EventKind.UPDATED])
def test_no_event_brings_back_who_a_person_has_erased_however_late_it_is(ona, requests, kind):
    erase(requests, ona)
    ona.clock.advance(days=1)
    more = {"columns": {"address": "Vilnius 3"}} if kind is EventKind.UPDATED else {}
    before = ona.rows(Job), ona.rows(CustomerRow)
    (receipt,) = take(ona, arrival(ona, kind, **more))
    assert (receipt.outcome, receipt.reason) == (Outcome.REFUSED, BY_EVENT)
    assert (ona.rows(Job), ona.rows(CustomerRow)) == before
    assert "Vilnius" not in readable(ona)


def test_after_an_erasure_by_an_event_a_list_is_refused_and_a_later_request_counts(ona):
    take(ona, arrival(ona, EventKind.ERASED))
    assert ona.rows(RefusedEvent) == []
    assert "token-0001" not in readable(ona)
    (refused,) = add_lines(ona.batches, ona.batch("a"), [line(2, ONA)], priority=10, now=ona.clock()).refused
    assert refused.problems == (WAS_ERASED,)
    ona.clock.advance(minutes=1)
    (receipt,) = take(ona, arrival(ona, EventKind.REQUESTED))
    assert receipt.outcome is Outcome.TAKEN
    assert ona.rows(Tombstone) == []
    assert add_lines(ona.batches, ona.batch("b"), [line(2, ONA)], priority=10, now=ona.clock()).refused == []


def test_an_older_request_is_ignored_even_when_the_event_of_the_erasure_is_gone(ona):
    take(ona, arrival(ona, EventKind.ERASED))
    with ona.database.write() as connection:
        connection.execute(sa.delete(Inbox))
    (receipt,) = take(ona, arrival(ona, EventKind.REQUESTED, at=ona.clock() - timedelta(hours=1)))
    assert receipt.outcome is Outcome.IGNORED
    assert ona.row(CustomerRow, customer_id="Ona").encrypted is None


def test_the_key_of_a_tombstone_is_needed_and_an_older_one_still_recognises(acting):
    old, new = new_key(), new_key()
    erase(SubjectRequests(acting.database, Keyring([old])), acting)
    with acting.database.read() as connection:
        assert uses_of_digest_keys(connection)[Keyring([old]).digest_ids[0]] == {"erased customers": 1}
    acting.batches.keyring = Keyring([new, old])
    (refused,) = add_lines(acting.batches, acting.batch(), [line(2, ONA)], priority=10, now=acting.clock()).refused
    assert refused.problems == (WAS_ERASED,)


def test_an_erasure_without_the_key_of_the_person_still_erases(ona):
    requests = SubjectRequests(ona.database, Keyring([new_key()]))
    proof = erase(requests, ona)
    assert proof.facts["erased"]["persons"] == 1
    assert proof.facts["kept"]["suppressed addresses found"] == 0  # the address cannot be read
    assert len(ona.rows(Suppression)) == 1


def test_an_export_has_all_that_is_stored_but_no_link_and_no_token(ona, requests):
    facts = requests.export("Ona", now=ona.clock())
    text = json.dumps(facts, ensure_ascii=False)
    assert [marker for marker in MARKERS if marker not in text] == ["token-0001"]
    assert "verify.test" not in text
    assert facts["person"]["email"] == "ona@example.org"
    assert facts["suppressed"][0]["address"] == "ona@example.org"
    assert [row["state"] for row in facts["rows"]] == ["invited", "failed"]
    assert [row["template"] for row in facts["rows"]] == ["", "vip"]
    assert [row["route"] for row in facts["rows"]] == [one.route for one in ona.rows(Job, customer_id="Ona")]
    calls = {(call["account"], call["outcome"], call["status"]) for call in facts["calls"]}
    assert calls == {("kyc", "done", None), ("email", "done", None), ("kyc", "bad_input", 400)}
    assert len(facts["calls"]) == 3
    (entry,) = ona.rows(Audit, reason="all that is stored was shown")
    assert entry.subject == "customer Ona"


def test_an_export_has_the_details_of_a_row_that_is_not_released(shelf, given):
    given(TRUE)
    second = given(OTHER, **PAUSED)
    requests = SubjectRequests(shelf.database, shelf.keyring)
    (waiting,) = requests.export("Ona", now=shelf.clock())["details_that_wait"]
    assert (waiting["batch"], waiting["row"], waiting["email"]) == (second, 2, OTHER)


@needs("outbox")
def test_an_export_has_the_events_that_wait(ona, requests):
    waiting = requests.export("Ona", now=ona.clock())["outgoing_events"]
    assert [event["type"] for event in waiting] == ["session.issued", "invitation.sent", "job.failed"]
    assert {event["data"]["customer_id"] for event in waiting} == {"Ona"}


def test_an_export_has_what_was_finished_before_a_purge_rows_left_out_and_visits_of_our_own_link(acting, requests):
    batch = acting.add(customer("Ona"), customer("Jonas"), refused=[RefusedLine(9, "Ona", duplicate_of=2)])
    at = acting.clock()
    with acting.database.write() as connection:
        done = {"purpose": "earlier", "result": "approved", "batch_id": 7, "row": 3}
        connection.execute(sa.insert(Finished), [done | {"customer_id": one} for one in ("Ona", "Jonas")])
        link = {"id": new_id(at), "purpose": "onboarding", "digest": "d", "encrypted": b"secret", "created_at": at}
        link |= {"ends_at": at, "opened_at": at}
        connection.execute(sa.insert(StableLink), link | {"customer_id": "Ona"})
    facts = requests.export("Ona", now=at)
    finished = {"batch": 7, "row": 3, "purpose": "earlier", "result": "approved"}
    assert facts["finished_in_purged_batches"] == [finished]
    (left_out,) = facts["rows_left_out"]
    assert (left_out["batch"], left_out["row"], left_out["duplicate_of"]) == (batch, 9, 2)
    (visited,) = facts["own_links"]
    assert (visited["opened_at"], visited["visited_at"]) == (written(at), None)
    assert "secret" not in json.dumps(facts)


@pytest.mark.both_databases
def test_an_export_of_an_erased_customer_says_so(ona, requests):
    erase(requests, ona)
    facts = requests.export("Ona", now=ona.clock())
    assert (facts["person"]["erased"], facts["erased"] is not None) == (True, True)
    # The address is known no longer, so its suppression is not found; it stays.
    assert facts["suppressed"] == []
    assert [marker for marker in MARKERS if marker in json.dumps(facts)] == []


def test_the_files_of_sqlite_hold_nothing_of_an_erased_customer(ona, requests, tmp_path):
    file = ona.database.engine.url.database
    values = [row.encrypted for row in (*ona.rows(CustomerRow, customer_id="Ona"), *ona.rows(RefusedEvent))]
    values += [row.encrypted for row in (*ona.rows(SessionRow, customer_id="Ona"), *ona.rows(Attempt)) if row.encrypted]
    values += [row.encrypted for row in (*ona.rows(Job, customer_id="Ona"), *ona.rows(Inbox)) if row.encrypted]

    def stored():
        parts = []
        for name in (file, f"{file}-wal", f"{file}-journal"):
            copy = tmp_path / "copy"
            if shutil.os.path.exists(name):
                shutil.copyfile(name, copy)
                parts.append(copy.read_bytes())
        return b"".join(parts)

    assert len(values) >= 6
    before = stored()
    assert all(value in before for value in values)
    erase(requests, ona)
    after = stored()
    assert [value for value in values if value in after] == []


def test_a_second_erasure_leaves_the_time_of_the_first(ona, requests):
    first = ona.clock()
    erase(requests, ona)
    ona.clock.advance(days=3)
    erase(requests, ona)
    assert requests.export("Ona", now=ona.clock())["erased"] == written(first)


def test_of_two_erasures_by_events_the_later_one_keeps_older_requests_out(ona):
    take(ona, arrival(ona, EventKind.ERASED))
    ona.clock.advance(hours=2)
    take(ona, arrival(ona, EventKind.ERASED))
    with ona.database.write() as connection:
        connection.execute(sa.delete(Inbox))
    (receipt,) = take(ona, arrival(ona, EventKind.REQUESTED, at=ona.clock() - timedelta(hours=1)))
    assert receipt.outcome is Outcome.IGNORED
