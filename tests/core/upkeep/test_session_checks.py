"""One check of many sessions: what it writes for each of them, and that it leaves all others alone."""

from collections import Counter
from datetime import timedelta
from uuid import UUID

import pytest

from onboarding_worker.core.database.tables import CustomerRow, InvitationRow, Job, ReissueCount, SessionRow
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.sessions import ExpirySource
from onboarding_worker.core.model.states import BATCH, EVENT, HELD_BACK, PAUSED, JobState, SessionState
from onboarding_worker.core.rules.contact import Caps, CorrectedRule
from onboarding_worker.core.rules.reissue import SETTLES
from onboarding_worker.core.upkeep import expired_sessions as expiring
from onboarding_worker.core.upkeep.expired_sessions import ExpiryCounts, check
from tests.core.upkeep.test_expired_sessions import DAY, TERMS, invited, let_expire
from tests.stored.own_link import LINKS
from tests.stored.shelf import WEEK, changed, customer

HOUR = timedelta(hours=1)
LIVES_ON = {"expires_at": DAY, "given_away": "email"}
# kyc: another session after the end. early: at any time. asks: its provider lists its sessions. away: it does, and
# cannot be asked now.
POLICY = changed(
    TERMS,
    lifetimes=dict.fromkeys(("kyc", "early", "asks", "away"), WEEK),
    reissue_at={"kyc": lambda end: end, "early": lambda end: end - 2 * WEEK, "asks": lambda end: end},
    lists=("asks", "away"),
    can_ask=lambda: {"asks"},
    refused_for=frozenset({"NAME"}),
)


@pytest.fixture
def scan(shelf, keyring):
    return lambda **changes: check(shelf.database, keyring, changed(POLICY, **changes), now=shelf.clock())


def set_session(shelf, name, **values):
    """Times are given as spans from now."""
    values = {key: shelf.clock() + one if isinstance(one, timedelta) else one for key, one in values.items()}
    if values:
        shelf.set(SessionRow, SessionRow.customer_id == name, **values)


def after(shelf, name):
    """The job's state and why, and the session's state and how soon it is checked again."""
    job, session = shelf.job(name, leader_id=None), shelf.row(SessionRow, customer_id=name)
    again = session.check_at and session.check_at - shelf.clock()
    return job.state.value, job.reason, session.state.value, again


WAITS = ("waiting", "session_expired", "expired", None)
CORRECTED = ("waiting", "address_corrected", "superseded", None)
DECIDED = [
    # of the session, of the account of both, of the job; what follows
    ({}, "kyc", {}, WAITS),
    ({"state": SessionState.STARTED}, "kyc", {}, WAITS),
    ({"given_away": "email"}, "kyc", {}, WAITS),
    ({"result": "review", "state": SessionState.STARTED}, "kyc", {}, ("invited", "", "started", None)),
    ({"result": "denied", "state": SessionState.FAILED}, "kyc", {}, ("invited", "", "failed", None)),
    ({}, "kyc", {"unknown_attempt": UUID(int=7)}, ("invited", "", "waiting", None)),
    ({}, "kyc", {"state": JobState.HELD}, ("held", "", "waiting", None)),
    ({}, "kyc", {"state": JobState.CANCELLED}, ("cancelled", "", "expired", None)),
    ({"state": SessionState.STARTED}, "kyc", {"state": JobState.FAILED}, ("failed", "", "expired", None)),
    (
        {"state": SessionState.STARTED, "result": "review"},
        "kyc",
        {"state": JobState.FAILED},
        ("failed", "", "started", None),
    ),
    ({"state": SessionState.COMPLETED}, "kyc", {"state": JobState.FAILED}, ("failed", "", "completed", None)),
    ({"expires_at": HOUR - SETTLES}, "kyc", {"state": JobState.FAILED}, ("failed", "", "waiting", None)),
    ({"expires_at": -SETTLES}, "kyc", {"state": JobState.FAILED}, ("failed", "", "expired", None)),
    # An address was corrected while the link opens.
    (LIVES_ON, "early", {}, CORRECTED),
    (LIVES_ON, "kyc", {}, ("invited", "", "waiting", DAY + SETTLES)),
    (LIVES_ON | {"same_link": True}, "early", {}, ("invited", "", "waiting", DAY + SETTLES)),
    (LIVES_ON | {"given_away": ""}, "early", {}, ("invited", "", "waiting", DAY + SETTLES)),
    # A provider that lists its sessions is asked about those that it has opened itself.
    ({}, "asks", {}, ("waiting", "status_check", "waiting", None)),
    ({"asked_at": timedelta(0)}, "asks", {}, WAITS),
    ({}, "asks", {"account": "kyc"}, WAITS),
    ({"expiry_source": ExpirySource.FALLBACK}, "asks", {"account": "away"}, WAITS),
    ({"expiry_source": ExpirySource.FALLBACK}, "away", {}, ("invited", "", "waiting", HOUR)),
    ({}, "away", {}, WAITS),
    ({"result": "review", "state": SessionState.STARTED}, "asks", {}, ("waiting", "status_check", "started", None)),
    # Of an account that is configured no more.
    ({}, "gone", {}, WAITS),
    ({"expires_at": DAY}, "gone", {}, ("invited", "", "waiting", DAY + SETTLES)),
]


@pytest.mark.both_databases
def test_one_check_decides_about_each_session_by_its_own_rows(shelf, scan):
    names = [f"C{number}" for number in range(len(DECIDED))]
    invited(shelf, *map(customer, names))
    let_expire(shelf)
    invited(shelf, customer("Later"))
    for name, (session, account, job, _) in zip(names, DECIDED, strict=True):
        set_session(shelf, name, **({"account": account} | session))
        shelf.set(Job, Job.customer_id == name, **({"account": account} | job))
    scan()
    found = [(case, got) for name, case in zip(names, DECIDED, strict=True) if (got := after(shelf, name)) != case[3]]
    assert found == []
    assert after(shelf, "Later") == ("invited", "", "waiting", WEEK + SETTLES)
    replaced = Counter(
        job.get("account", account) for _, account, job, end in DECIDED if end[:2] in (WAITS[:2], CORRECTED[:2])
    )
    assert {row.account: row.count for row in shelf.rows(ReissueCount) if row.count} == replaced


def test_a_refused_customer_is_asked_again_only_for_a_named_reason(shelf, scan):
    invited(shelf, customer("Ona"), customer("Rasa"), customer("Eva"))
    for name, reasons in [("Ona", "DOC_EXPIRED NAME"), ("Rasa", "DOC_EXPIRED"), ("Eva", "NAME fraud:FAKE_FACE")]:
        session = shelf.row(SessionRow, customer_id=name)
        set_session(shelf, name, state=SessionState.FAILED, result="denied", reasons=reasons, check_at=timedelta(0))
        shelf.set(Job, Job.customer_id == name, refused_session=session.id, reason="x", detail="x")
    assert scan(spacing=timedelta(0)) == ExpiryCounts(reissued=1, unchanged=2)
    assert after(shelf, "Ona") == ("waiting", "asked_again", "failed", None)
    for name in ("Rasa", "Eva"):
        job = shelf.job(name)
        assert after(shelf, name) == ("completed", "", "failed", None)
        assert (job.result, job.due_at, job.detail, job.changed_at) == ("denied", None, "", shelf.clock())
        assert job.session_id == job.refused_session


@pytest.mark.parametrize("spent", [False, True], ids=["waits again", "lapses"])
def test_a_job_that_moves_begins_anew_unless_it_has_ended(shelf, scan, spent):
    invited(shelf)
    let_expire(shelf)
    shelf.set(Job, attempts=5, detail="x", needs_status_check=True, link_requested_at=shelf.clock())
    counts = scan(caps=Caps(0, 100)) if spent else scan()
    assert counts == (ExpiryCounts(lapsed=1) if spent else ExpiryCounts(reissued=1))
    job = shelf.job("Ona")
    assert (job.attempts, job.needs_status_check, job.link_requested_at) == (5 if spent else 0, False, None)
    assert (bool(job.detail), job.changed_at, job.due_at) == (spent, shelf.clock(), None if spent else shelf.clock())


def test_a_job_whose_provider_is_asked_is_due_at_once_for_a_look_up(shelf, scan):
    invited(shelf)
    let_expire(shelf)
    set_session(shelf, "Ona", account="asks")
    shelf.set(Job, account="asks")
    assert scan() == ExpiryCounts(asked=1)
    assert (shelf.job("Ona").due_at, shelf.job("Ona").needs_status_check) == (shelf.clock(), True)


@pytest.mark.parametrize(
    ("before", "then"),
    [
        (EVENT, BATCH),
        (EVENT + PAUSED, BATCH + PAUSED),
        (BATCH, BATCH),
        (BATCH + PAUSED, BATCH + PAUSED),
        (BATCH + HELD_BACK, BATCH + HELD_BACK),
    ],
)
def test_a_later_link_of_an_event_goes_with_those_of_lists_and_a_pause_stays(shelf, scan, before, then):
    invited(shelf)
    let_expire(shelf)
    shelf.set(Job, priority=before)
    scan()
    assert shelf.job("Ona").priority == then


def test_each_account_has_its_own_cap_of_the_day(shelf, scan):
    names = [f"C{number}" for number in range(6)]
    invited(shelf, *map(customer, names))
    let_expire(shelf)
    for name in names[::2]:
        set_session(shelf, name, account="early")
        shelf.set(Job, Job.customer_id == name, account="early")
    assert scan(per_day=2) == ExpiryCounts(reissued=4, postponed=2)
    assert {row.account: row.count for row in shelf.rows(ReissueCount)} == {"early": 2, "kyc": 2}
    shelf.clock.advance(hours=1)
    invited(shelf, customer("Ona"))
    set_session(shelf, "Ona", expires_at=-HOUR, check_at=-HOUR)
    assert scan(per_day=2) == ExpiryCounts(postponed=1)


def test_a_tick_checks_a_few_chunks_and_leaves_the_rest_to_the_next(shelf, scan, monkeypatch):
    monkeypatch.setattr(expiring, "CHUNK", 2)
    invited(shelf, *(customer(f"C{number}") for number in range(11)))
    let_expire(shelf)
    for number in range(11):  # the later in the list, the earlier due
        set_session(shelf, f"C{number}", check_at=timedelta(minutes=-number))
    assert scan() == ExpiryCounts(reissued=8)
    waiting = {row.customer_id for row in shelf.rows(Job, state=JobState.INVITED)}
    assert waiting == {"C0", "C1", "C2"}
    assert scan() == ExpiryCounts(reissued=3)


def test_where_the_configuration_allows_it_a_corrected_address_gets_the_same_link_once(shelf, scan):
    invited(shelf, customer("Ona", channel=Channel.BOTH), customer("Rasa", channel=Channel.BOTH))
    set_session(shelf, "Ona", given_away="email", check_at=timedelta(0))
    assert scan(corrected=CorrectedRule.SAME_LINK) == ExpiryCounts(unchanged=1)
    session = shelf.row(SessionRow, customer_id="Ona")
    assert (session.same_link, session.state, session.check_at) == (
        True,
        SessionState.WAITING,
        session.expires_at + SETTLES,
    )
    assert not shelf.row(SessionRow, customer_id="Rasa").same_link
    (message,) = shelf.rows(InvitationRow, state="waiting")
    assert (message.session_id, message.channel, message.due_at) == (session.id, "email", shelf.clock())
    let_expire(shelf)
    assert scan(corrected=CorrectedRule.SAME_LINK).reissued == 2
    assert shelf.row(SessionRow, customer_id="Ona").same_link


def test_a_link_that_is_replaced_ahead_is_the_live_one_until_the_new_one_is_there(shelf, scan):
    invited(shelf)
    shelf.set(Job, account="early")
    shelf.clock.now += WEEK - HOUR
    set_session(shelf, "Ona", account="early", check_at=timedelta(0))
    assert scan(ahead=2 * HOUR) == ExpiryCounts(reissued=1)
    assert after(shelf, "Ona") == ("waiting", "link_ends_soon", "waiting", HOUR + SETTLES)
    assert shelf.job("Ona").due_at == shelf.clock()


@pytest.mark.parametrize(
    ("made", "session", "left"),
    [
        ("Ona", {}, ("invited", "", "expired", LINKS.valid - WEEK - SETTLES)),
        ("Ona", {"state": SessionState.DEFERRED}, ("invited", "", "deferred", LINKS.valid - WEEK - SETTLES)),
        ("Ona", {"given_away": "email"}, WAITS),
        ("Rasa", {}, WAITS),
        ("", {}, WAITS),
    ],
)
def test_a_customer_with_our_own_link_gets_another_session_only_when_they_come(
    shelf, scan, keyring, made, session, left
):
    invited(shelf)
    if made:
        with shelf.database.write() as connection:
            LINKS.ensure(connection, keyring, [(made, "onboarding")], now=shelf.clock())
    let_expire(shelf)
    set_session(shelf, "Ona", **session)
    scan(stable=True)
    assert after(shelf, "Ona") == left


@pytest.mark.parametrize(("made_ago", "again"), [(DAY, LINKS.valid - DAY), (LINKS.valid - HOUR, DAY)])
def test_before_its_first_message_a_session_is_looked_at_again_at_its_links_end_or_in_a_day(
    shelf, scan, keyring, made_ago, again
):
    shelf.add(customer("Ona"))
    shelf.issue()
    with shelf.database.write() as connection:
        LINKS.ensure(connection, keyring, [("Ona", "onboarding")], now=shelf.clock() - made_ago)
    set_session(shelf, "Ona", check_at=timedelta(0))
    assert scan(stable=True) == ExpiryCounts(unchanged=1)
    assert after(shelf, "Ona") == ("issued", "", "waiting", again)


def test_without_own_links_one_that_was_made_before_keeps_no_session_from_being_replaced(shelf, scan, keyring):
    invited(shelf)
    with shelf.database.write() as connection:
        LINKS.ensure(connection, keyring, [("Ona", "onboarding")], now=shelf.clock())
    let_expire(shelf)
    scan()
    assert after(shelf, "Ona") == WAITS


def test_an_erased_customer_whose_session_has_ended_is_checked_no_more_and_keeps_the_job(shelf, scan):
    """Of one whom no key decrypts, the dispatcher that claims the job says so."""
    invited(shelf, customer("Ona"), customer("Rasa"), customer("Eva"))
    shelf.set(CustomerRow, CustomerRow.customer_id == "Ona", encrypted=None)
    shelf.set(CustomerRow, CustomerRow.customer_id == "Eva", encrypted=b"x")
    let_expire(shelf)
    assert scan() == ExpiryCounts(reissued=2, unchanged=1)
    assert (after(shelf, "Ona"), after(shelf, "Eva")) == (("invited", "", "expired", None), WAITS)


def test_of_sessions_that_cannot_be_checked_the_jobs_that_wait_for_their_customers_are_held(shelf, scan):
    states = {"Ona": JobState.INVITED, "Rasa": JobState.ISSUED, "Eva": JobState.WAITING}
    invited(shelf, *map(customer, [*states, "Other"]))
    let_expire(shelf)
    for name, state in states.items():
        set_session(shelf, name, account="broken")
        shelf.set(Job, Job.customer_id == name, state=state)
    rules = {**POLICY.reissue_at, "broken": lambda _: 1 / 0}
    assert scan(reissue_at=rules).reissued == 1
    assert [after(shelf, name) for name in states] == [
        ("held", "cannot_work", "waiting", None),
        ("held", "cannot_work", "waiting", None),
        ("waiting", "", "waiting", None),
    ]
    assert after(shelf, "Other") == WAITS


def test_only_sessions_that_have_ended_now_are_told_as_expired(shelf, scan, monkeypatch):
    told, tell = [], expiring.happened

    def noted(connection, fact, *, now):
        told.extend(fact.ids)
        tell(connection, fact, now=now)

    monkeypatch.setattr(expiring, "happened", noted)
    invited(shelf, *map(customer, ("Ended", "Before", "Corrected", "Refused", "Alive")))
    let_expire(shelf)
    set_session(shelf, "Before", state=SessionState.EXPIRED)
    set_session(shelf, "Corrected", account="early", **LIVES_ON)
    set_session(shelf, "Alive", expires_at=DAY)
    set_session(shelf, "Refused", state=SessionState.FAILED, reasons="NAME")
    refused = Job.customer_id == "Refused"
    shelf.set(Job, refused, refused_session=shelf.job("Refused").session_id)
    assert scan() == ExpiryCounts(reissued=4, unchanged=1)
    assert told == [shelf.job("Ended").session_id]


def test_of_a_session_that_cannot_be_checked_the_row_that_leads_is_held_alone(shelf, scan):
    invited(shelf)
    second = shelf.add(customer("Ona"))
    shelf.set(Job, Job.batch_id == second, session_id=shelf.row(SessionRow).id, state=JobState.INVITED)
    shelf.set(CustomerRow, encrypted=shelf.keyring.encrypt({"date_of_birth": 7}, context="customer Ona"))
    let_expire(shelf)
    scan()
    assert {row.leader_id is None: row.state for row in shelf.rows(Job)} == {
        True: JobState.HELD,
        False: JobState.INVITED,
    }
