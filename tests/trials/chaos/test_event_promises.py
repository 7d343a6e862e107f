"""The checks of a run of events: they accept a correct run, and each finds its own mistake."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from trials.events.aftermath import Aftermath, Dead, dead_of
from trials.events.meaning import Known, meant
from trials.events.programme import drawn
from trials.events.promises import PROMISES, broken
from trials.events.wires import Answer
from trials.evidence import Evidence, Invitation, Job, Received, Session
from worker.store.inbox.refused_events import KeptMessage

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PROGRAMME = drawn(400, 3, now=NOW, trap=Path("unpickled"), redis=True, refused=80)


class Scene:
    """The results of a correct run; each test spoils them."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.sessions: list[Session] = []
        self.invitations: list[Invitation] = []
        self.calls: list[dict] = []
        self.mails: list[dict] = []
        self.texts: list[dict] = []
        self.published: list[dict] = []
        self.customers: dict[str, bool] = {}
        self.purposes: dict[int, str] = {}
        nameless = PROGRAMME.unnamed
        self.inbox = []
        for one in PROGRAMME.all_events:
            source = "plain" if nameless and one.kind == "onboarding.requested" and one.time is None else one.source
            nameless -= source == "plain"
            event = {"source": source, "event_id": one.id, "kind": one.kind, "customer_id": one.customer_id}
            self.inbox.append(event | {"outcome": "taken", "encrypted": None})
        for known in meant(PROGRAMME.all_events).values():
            self.customers[known.customer_id] = known.is_known
            for purpose in known.due:
                self.work(known, purpose)
        self.facts = {
            "dead": [
                Dead(str(UUID(int=number)), message.body, "it is no event")
                for number, (_, message) in enumerate(PROGRAMME.refused)
            ],
            "answers": [Answer(202, {})] * 5,
            "refusals": [Answer(400, {})] * 5,
        }
        self.facts["listed"] = len(self.facts["dead"])
        self.facts["notices"] = [f'{{"id": "{one.id}"}}'.encode() for one in self.facts["dead"]]

    def work(self, known: Known, purpose: str) -> None:
        due, number = known.due[purpose], len(self.jobs) + 1
        self.purposes[number] = purpose
        state = ("issued" if due.deferred else "invited") if due.wanted else "cancelled"
        session = f"session-{number}"
        self.jobs.append(Job(number, number, known.customer_id, "kyc", state, "", "", session if due.wanted else None))
        if not due.wanted:
            return
        self.sessions.append(Session(session, known.customer_id, purpose, number, "kyc", session, "waiting"))
        self.calls.append({"endpoint": "idenfy-kyc", "client": known.customer_id, "processed": True, "token": ""})
        self.publish(known, "session.issued", session)
        if due.deferred:
            return
        for channel in due.channels:
            message = f"{number}-{channel}"
            self.invitations.append(Invitation(message, session, number, channel, "invitation", "sent", ""))
            self.publish(known, "invitation.sent", session)
            if channel == "email":
                self.mails.append({"to": [known.email], "message_id": message})
            else:
                self.texts.append({"to": known.phone})

    def publish(self, known: Known, kind: str, session: str) -> None:
        number = len(self.published)
        event = {"id": f"event-{number}", "type": kind, "subject": known.customer_id, "sequence": f"{number:019}"}
        self.published.append(event | {"data": {"session": session, "job_id": 1}})

    def case(self) -> Aftermath:
        received = Received(self.calls, self.mails, self.texts)
        return Aftermath(
            PROGRAMME,
            Evidence(self.jobs, (), self.sessions, self.invitations, received=received),
            inbox=self.inbox,
            customers=self.customers,
            leading={job.id: True for job in self.jobs},
            purposes=self.purposes,
            published=self.published,
            **self.facts,
        )

    def first(self, **what: bool) -> Known:
        """A customer with these properties, whose events were all published before a worker ran."""
        for known in meant(PROGRAMME.events_before).values():
            for due in known.due.values():
                facts = {"wanted": due.wanted, "moved": bool(known.former), "known": known.is_known}
                facts |= {"mailed": "email" in due.channels, "deferred": due.deferred}
                if all(facts[name] == value for name, value in what.items()):
                    return known
        raise AssertionError(f"no such customer: {what}")

    def job_of(self, known: Known) -> int:
        return next(place for place, job in enumerate(self.jobs) if job.customer_id == known.customer_id)


def test_a_run_in_which_everything_went_well_breaks_no_promise():
    assert broken(Scene().case()) == []


def an_event_is_lost(scene: Scene) -> None:
    scene.inbox.pop()


def an_event_is_stored_that_no_producer_sent(scene: Scene) -> None:
    scene.inbox.append({**scene.inbox[-1], "source": "/crm", "event_id": "X-000001"})


def a_message_stays_in_the_queue(scene: Scene) -> None:
    scene.facts["left"] = 1


def a_refused_message_vanishes(scene: Scene) -> None:
    scene.facts["dead"].pop()
    scene.facts["listed"] -= 1


def a_refused_message_has_no_reason(scene: Scene) -> None:
    scene.facts["dead"][0] = replace(scene.facts["dead"][0], reason=" ")


def a_reason_repeats_an_address(scene: Scene) -> None:
    scene.facts["dead"][0] = replace(scene.facts["dead"][0], reason="c1@example.com is no address")


def a_good_event_is_refused(scene: Scene) -> None:
    scene.facts["dead"].append(Dead("", PROGRAMME.before[0].body, "no"))
    scene.facts["listed"] += 1


def a_refused_message_is_kept_twice(scene: Scene) -> None:
    scene.facts["dead"].append(scene.facts["dead"][0])
    scene.facts["listed"] += 1


def a_notice_is_missing(scene: Scene) -> None:
    scene.facts["notices"].pop()


def a_notice_names_a_customer(scene: Scene) -> None:
    scene.facts["notices"][0] += b" c1@example.com"


def a_notice_is_there_twice_though_nothing_died(scene: Scene) -> None:
    scene.facts["notices"] += scene.facts["notices"][:1]


def the_list_of_the_dead_leaves_one_out(scene: Scene) -> None:
    scene.facts["listed"] -= 1


def a_pickle_is_opened(scene: Scene) -> None:
    scene.facts["trapped"] = True


def a_customer_has_two_jobs(scene: Scene) -> None:
    job = scene.jobs[scene.job_of(scene.first(wanted=True, moved=False))]
    scene.purposes[9999] = scene.purposes[job.id]
    scene.jobs.append(replace(job, id=9999))


def a_customer_has_no_job(scene: Scene) -> None:
    job = scene.jobs.pop(scene.job_of(scene.first(wanted=True)))
    scene.invitations = [one for one in scene.invitations if one.job_id != job.id]


def one_who_called_off_has_an_open_job(scene: Scene) -> None:
    place = scene.job_of(scene.first(wanted=False, known=True))
    scene.jobs[place] = replace(scene.jobs[place], state="invited")


def a_stranger_has_a_job(scene: Scene) -> None:
    scene.jobs.append(replace(scene.jobs[0], customer_id="X-000001"))


def a_job_stands_still(scene: Scene) -> None:
    place = scene.job_of(scene.first(wanted=True))
    scene.jobs[place] = replace(scene.jobs[place], state="failed")


def a_customer_has_two_sessions(scene: Scene) -> None:
    scene.sessions.append(replace(scene.sessions[0], id="another", state="expired"))


def a_session_is_opened_twice(scene: Scene) -> None:
    scene.calls.append(scene.calls[0])


def a_session_is_opened_for_a_stranger(scene: Scene) -> None:
    scene.calls.append({**scene.calls[0], "client": "X-000001"})


def one_who_called_off_has_a_session(scene: Scene) -> None:
    known = scene.first(wanted=False, known=True)
    scene.sessions.append(replace(scene.sessions[0], id="another", customer_id=known.customer_id))


def a_mail_is_missing(scene: Scene) -> None:
    known = scene.first(wanted=True, mailed=True, deferred=False)
    scene.mails = [mail for mail in scene.mails if mail["to"] != [known.email]]


def a_mail_comes_twice(scene: Scene) -> None:
    scene.mails.append(scene.mails[0])


def a_mail_goes_to_the_old_address(scene: Scene) -> None:
    known = scene.first(wanted=True, mailed=True, moved=True, deferred=False)
    old = next(one for one in known.former if "@" in one)
    for mail in scene.mails:
        if mail["to"] == [known.email]:
            mail["to"] = [old]


def one_who_called_off_is_written_to(scene: Scene) -> None:
    scene.mails.append({"to": [scene.first(wanted=False, known=True).email], "message_id": "new"})


def one_who_is_erased_is_written_to(scene: Scene) -> None:
    old = next(one for one in scene.first(wanted=False, known=False, moved=True).former if "@" in one)
    scene.mails.append({"to": [old], "message_id": "new"})


def one_who_waits_in_the_app_is_written_to(scene: Scene) -> None:
    scene.mails.append({"to": [scene.first(deferred=True).email], "message_id": "new"})


def a_stranger_is_written_to(scene: Scene) -> None:
    scene.texts.append({"to": "+447999999999"})


def one_who_is_erased_is_kept(scene: Scene) -> None:
    scene.customers[scene.first(wanted=False, known=False).customer_id] = True


def one_who_is_wanted_is_erased(scene: Scene) -> None:
    scene.customers[scene.first(wanted=True).customer_id] = False


def an_update_outlives_its_customer(scene: Scene) -> None:
    gone = {row["customer_id"] for row in scene.inbox if row["kind"] == "customer.erased"}
    row = next(row for row in scene.inbox if row["customer_id"] in gone and not scene.customers[row["customer_id"]])
    row["encrypted"] = b"something"


def an_event_of_ours_is_not_published(scene: Scene) -> None:
    scene.published.pop()


def an_event_of_ours_stays_in_the_outbox(scene: Scene) -> None:
    scene.facts["outbox"] = 1


def an_event_of_ours_is_published_under_two_ids(scene: Scene) -> None:
    scene.published.append({**scene.published[-1], "id": "another"})


def two_events_of_ours_have_one_id(scene: Scene) -> None:
    scene.published.append({**scene.published[-1], "type": "job.failed"})


def our_events_are_published_in_another_order(scene: Scene) -> None:
    by_customer = defaultdict(list)
    for place, one in enumerate(scene.published):
        by_customer[one["subject"]].append(place)
    first, then = next(places[:2] for places in by_customer.values() if len(places) > 1)
    scene.published[first], scene.published[then] = scene.published[then], scene.published[first]


def an_address_is_published(scene: Scene) -> None:
    scene.published[0]["data"]["email"] = "c1@example.com"


def http_refuses_an_event(scene: Scene) -> None:
    scene.facts["answers"] = [Answer(500, {})]


def http_takes_rubbish(scene: Scene) -> None:
    scene.facts["refusals"] = [Answer(202, {})]


WRONGS: dict[Callable[[Scene], None], str] = {
    an_event_is_lost: "every_event_is_stored_once",
    an_event_is_stored_that_no_producer_sent: "every_event_is_stored_once",
    a_message_stays_in_the_queue: "every_event_is_stored_once",
    a_refused_message_vanishes: "every_refused_message_is_kept_with_its_reason",
    a_refused_message_has_no_reason: "every_refused_message_is_kept_with_its_reason",
    a_reason_repeats_an_address: "every_refused_message_is_kept_with_its_reason",
    a_good_event_is_refused: "nothing_else_is_refused",
    a_notice_is_missing: "the_dead_queue_has_a_notice_of_each_and_nothing_of_its_content",
    a_notice_names_a_customer: "the_dead_queue_has_a_notice_of_each_and_nothing_of_its_content",
    a_notice_is_there_twice_though_nothing_died: "the_dead_queue_has_a_notice_of_each_and_nothing_of_its_content",
    a_refused_message_is_kept_twice: "nothing_else_is_refused",
    the_list_of_the_dead_leaves_one_out: "nothing_else_is_refused",
    a_pickle_is_opened: "nothing_is_unpickled",
    a_customer_has_two_jobs: "one_job_each",
    a_customer_has_no_job: "one_job_each",
    one_who_called_off_has_an_open_job: "one_job_each",
    a_stranger_has_a_job: "one_job_each",
    a_job_stands_still: "one_job_each",
    a_customer_has_two_sessions: "one_session_each",
    a_session_is_opened_twice: "one_session_each",
    a_session_is_opened_for_a_stranger: "one_session_each",
    one_who_called_off_has_a_session: "one_session_each",
    a_mail_is_missing: "one_message_each_to_where_they_are",
    a_mail_comes_twice: "one_message_each_to_where_they_are",
    a_mail_goes_to_the_old_address: "one_message_each_to_where_they_are",
    one_who_called_off_is_written_to: "one_message_each_to_where_they_are",
    one_who_is_erased_is_written_to: "one_message_each_to_where_they_are",
    one_who_waits_in_the_app_is_written_to: "one_message_each_to_where_they_are",
    a_stranger_is_written_to: "one_message_each_to_where_they_are",
    one_who_is_erased_is_kept: "who_is_erased_is_forgotten",
    one_who_is_wanted_is_erased: "who_is_erased_is_forgotten",
    an_update_outlives_its_customer: "who_is_erased_is_forgotten",
    an_event_of_ours_is_not_published: "every_event_of_ours_is_published_in_order",
    an_event_of_ours_stays_in_the_outbox: "every_event_of_ours_is_published_in_order",
    an_event_of_ours_is_published_under_two_ids: "every_event_of_ours_is_published_in_order",
    two_events_of_ours_have_one_id: "every_event_of_ours_is_published_in_order",
    our_events_are_published_in_another_order: "every_event_of_ours_is_published_in_order",
    an_address_is_published: "every_event_of_ours_is_published_in_order",
    http_refuses_an_event: "http_answers_as_it_should",
    http_takes_rubbish: "http_answers_as_it_should",
}


@pytest.mark.parametrize("wrong", WRONGS, ids=lambda wrong: wrong.__name__)
def test_what_is_wrong_is_found(wrong: Callable[[Scene], None]):
    scene = Scene()
    wrong(scene)
    found = {complaint.partition(":")[0] for complaint in broken(scene.case())}
    assert WRONGS[wrong] in found


def test_each_promise_is_broken_by_something_here():
    assert set(WRONGS.values()) == {promise.__name__ for promise in PROMISES}


def test_a_complaint_holds_nothing_personal():
    scene = Scene()
    for wrong in WRONGS:
        wrong(scene)
    text = "\n".join(broken(scene.case()))
    assert "@" not in text
    assert "+44" not in text


def test_two_messages_that_are_too_large_are_told_apart_although_only_their_size_is_known():
    name, large = next(one for one in PROGRAMME.refused if one[0] == "too large")
    other = replace(large, body=large.body.replace(b"a", b"b"))
    kept = [
        KeptMessage(UUID(int=number), "requests", "it is too large", "", "", len(large.body), 1, NOW, NOW, None)
        for number in range(2)
    ]

    dead = dead_of(kept, replace(PROGRAMME, refused=[(name, large), (name, other)]))

    assert {one.body for one in dead} == {large.body, other.body}
