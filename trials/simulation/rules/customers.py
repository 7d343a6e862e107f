"""Rules of what a customer gets: nothing twice, nothing stale, nothing at a wrong hour, nothing after the end."""

from collections import defaultdict
from collections.abc import Iterator
from math import inf

from trials.promises import most_within
from trials.simulation.people import QUESTION, REVIEW, VERDICT
from trials.simulation.plan import FLOOR, LEASE, MESSAGES, PER_ADDRESS, PER_ADDRESS_SECONDS, TIMEOUT
from trials.simulation.play import CALM, History
from trials.simulation.records import Call, Kind
from trials.simulation.rules.reading import (
    ENDED,
    REPEATED,
    asked,
    behind,
    by_customer,
    due_again,
    is_asked_once_more,
    left_late,
    may_be_unknown,
    opened,
    times,
    verdicts,
)

# A call that was opened before a decision may leave until its lease is over.
IN_FLIGHT = LEASE + TIMEOUT
CLOCKS = 0.1  # between a process's clock and the database's, once that was asked
APPLIED = 90.0  # after how many seconds a stored webhook was applied: the beat looks each minute at least
SLACK = 1.0  # seconds between the check of a link's life and the message's departure


def nothing_is_sent_twice(history: History) -> Iterator[str]:
    """One text for a session, and one for each reminder; as many Message-IDs, each with a second copy only after an
    unknown outcome.

    With stable links one for the link: whatever becomes of its session, nothing but reminders of each session follows,
    and what a person sends.
    """
    sessions = opened(history)

    def most(customer: str) -> int:
        begun = len(sessions.get(customer, ())) if history.plan.stable else 1
        again = len(times(history, "the desk sends it again", customer)) + len(times(history, REPEATED))
        given = len(times(history, "the desk gives a new link", customer))
        firsts = asked(history, customer) + given if history.plan.stable else 1
        return firsts + again + len(history.plan.reminders) * max(begun, 1)

    texts: dict[tuple[str, str], list[Call]] = defaultdict(list)
    mails: dict[tuple[str, str], list[Call]] = defaultdict(list)
    for call in history.record.calls:
        if call.processed and call.kind in (Kind.TEXT, Kind.MAIL):
            (texts if call.kind is Kind.TEXT else mails)[call.customer, call.link or call.token].append(call)
    for (customer, token), sent in texts.items():
        if sum(not left_late(history, call) for call in sent) > most(customer):
            yield f"{customer} is texted {len(sent)} times about session …{token[-6:]}"
    for (customer, token), sent in mails.items():
        keys = len({call.key for call in sent})
        if keys > most(customer):
            yield f"{customer} gets {keys} Message-IDs for session …{token[-6:]}"
        unknown = sum(may_be_unknown(history, call) for call in sent)
        if sum(not left_late(history, call) for call in sent) - keys > unknown:
            yield f"{customer} gets {len(sent)} mails about session …{token[-6:]}, with {unknown} unknown outcomes"


def caps_are_kept(history: History) -> Iterator[str]:
    for customer, calls in opened(history).items():
        lost = sum(may_be_unknown(history, call) or left_late(history, call) for call in calls)
        sessions = len({call.token for call in calls})
        if sessions > asked(history, customer) * (1 + history.plan.reissues) + lost:
            yield f"{customer}: {sessions} sessions are opened, {lost} of them with lost answers, or too late"
    for customer, sent in by_customer(history, Kind.MAIL, Kind.TEXT).items():
        mails = len({call.key for call in sent if call.processed and call.kind is Kind.MAIL})
        texts = sum(call.processed and call.kind is Kind.TEXT and not left_late(history, call) for call in sent)
        if mails + texts > asked(history, customer) * MESSAGES:
            yield f"{customer} gets {mails + texts} messages"


def quiet_hours_are_kept(history: History) -> Iterator[str]:
    """In quiet hours no message leaves, and no session is asked for that only a message needs."""
    begins, ends = history.plan.quiet_seconds
    quiet = {person.id for person in history.plan.people if person.account != "au"}
    for call in history.record.of(Kind.SESSION, Kind.MAIL, Kind.TEXT):
        if call.customer not in quiet or behind(history, call):
            continue
        if call.kind is Kind.SESSION:
            if not history.plan.stable and begins + LEASE * bool(begins) < call.sent_at < ends - CLOCKS:
                yield f"{call.customer}: a session is asked for at {call.sent_at:.2f} s, and it is quiet"
        elif begins + CLOCKS * bool(begins) < call.sent_at < ends - CLOCKS:
            yield f"{call.customer}: a {call.kind} leaves at {call.sent_at:.2f} s, and it is quiet"


def addresses_are_spared(history: History) -> Iterator[str]:
    """A mailbox that customers share gets no more messages than an address may get."""
    if not history.plan.shared:
        return
    first: dict[str, float] = {}
    for call in history.record.of(Kind.MAIL):
        if call.processed:
            first.setdefault(call.key, call.sent_at)
    # A place is taken with the attempt.
    most = most_within(sorted(first.values()), PER_ADDRESS_SECONDS - LEASE)
    if most > PER_ADDRESS:
        yield f"{most} messages leave to one mailbox, of {PER_ADDRESS}"


def a_link_goes_to_one_address(history: History) -> Iterator[str]:
    """A session's link that an address has, or may have, goes to no other mailbox. Our own link asks who comes."""
    had: dict[str, set[str]] = defaultdict(set)
    if history.plan.stable or any(one.detail == "the same link" for one in history.record.happened):
        return
    for call in history.record.of(Kind.MAIL):
        if call.processed:
            had[call.token].add(call.to)
    for token, addresses in had.items():
        if len(addresses) > 1:
            yield f"the link to session …{token[-6:]} goes to {len(addresses)} mailboxes"


def nothing_stale_is_sent(history: History) -> Iterator[str]:
    sessions = {call.token: call for call in history.record.of(Kind.SESSION, Kind.ADOPTED) if call.token}
    if history.plan.stable:
        yield from _leads_only_there(history, sessions)
        return
    for message in history.record.of(Kind.MAIL, Kind.TEXT):
        session = sessions.get(message.token)
        if session is None or session.customer != message.customer:
            yield f"{message.customer} is sent a link that no provider opened for it"
        elif session.expires_at - message.sent_at < FLOOR - SLACK:
            yield f"{message.customer} is sent a link with {session.expires_at - message.sent_at:.0f} s left"


def _leads_only_there(history: History, sessions: dict[str, Call]) -> Iterator[str]:
    """Each customer's messages have one link, its own, which leads to sessions of its own that live."""
    customers: dict[str, set[str]] = defaultdict(set)
    for message in history.record.of(Kind.MAIL, Kind.TEXT):
        customers[message.link].add(message.customer)
    for link, owners in customers.items():
        if not link or len(owners) > 1:
            yield f"messages of {', '.join(sorted(owners))} have {'the same' if link else 'no'} link of ours"
    for led in history.record.happened:
        if led.what == "is led to":
            session = sessions.get(led.detail)
            if session is None or session.customer != led.customer:
                yield f"{led.customer} is led to a session that no provider opened for it"
            elif led.at >= session.expires_at + SLACK:
                yield f"{led.customer} is led at {led.at:.0f} s to a session that ended at {session.expires_at:.0f} s"


def nothing_leaves_after_not_me(history: History) -> Iterator[str]:
    """Who has said that the message was for another person gets none any more, and no session, until somebody of the
    office decides that the held row goes on. Where the office had given another address since that link left, nothing
    more goes to who has it, and the customer gets another one."""
    for person in history.plan.people:
        link, said = next(iter(verdicts(history, person.id, "not me").items()), ("", None))
        left = max((call.sent_at for call in history.record.of(Kind.MAIL, Kind.TEXT) if call.link == link), default=inf)
        if said is None or any(left < at <= said for at in times(history, "has another address", person.id)):
            continue
        asked_again = [at for at in times(history, "requested", person.id) if at > said - IN_FLIGHT]
        let_go_on = min((at for at in times(history, REPEATED) if at > said), default=inf)
        for call in history.record.of(Kind.SESSION, Kind.MAIL, Kind.TEXT):
            late = said + IN_FLIGHT < call.sent_at < let_go_on and not left_late(history, call)
            if call.customer == person.id and late and not asked_again:
                yield f"{person.id} has said not to be meant at {said:.1f} s: a {call.kind} leaves {call.sent_at:.1f} s"
        job = history.jobs.get(person.id)
        if job is not None and job.state not in (*ENDED, "held") and not asked_again and let_go_on == inf:
            yield f"{person.id} has said not to be meant, and is {job.state}"


def nothing_leaves_after_the_end(history: History) -> Iterator[str]:
    """Whose request was cancelled or whose data was erased, or who is known to have finished, is left alone."""
    for call in history.record.of(Kind.SESSION, Kind.MAIL, Kind.TEXT):
        for word in ("cancelled", "erased"):
            at = history.record.first(word, call.customer)
            if at is None or call.sent_at <= at + IN_FLIGHT or left_late(history, call):
                continue
            # Events may come in any order: a request that came after the cancellation is a new one.
            requested = [
                one.at for one in history.record.happened if one.what == "requested" and one.customer == call.customer
            ]
            if not any(when > at for when in requested):
                yield f"{call.customer} was {word} at {at:.1f} s: a {call.kind} leaves at {call.sent_at:.1f} s"


def nothing_leaves_once_it_is_known(history: History) -> Iterator[str]:
    """Who is known to have submitted, in whatever session, gets nothing more: not while the provider reviews it, and
    not after its verdict. If the provider asks the customer for more, the review is over."""
    for person in history.plan.people:
        if times(history, "cancelled", person.id) or times(history, "erased", person.id):
            continue  # `nothing_leaves_after_the_end` looks at these
        # Another list may ask for whom it has decided about: then a review counts alone.
        decides = (QUESTION, VERDICT) if history.plan.acts else (QUESTION,)
        over = [what.format(one) for one in decides for what in ("the provider has a {}", "is known: {}")]
        questions = [at for what in over for at in times(history, what, person.id)]
        questions += due_again(history, person.id)
        if is_asked_once_more(history, person):
            # The webhook of the review may come after the decision, and so before that of the verdict.
            questions += verdicts(history, person.id, f"the provider has a {VERDICT}").values()
            questions += verdicts(history, person.id).values()
        known = [
            (at, min((question for question in questions if question > at), default=inf))
            for at in _reviews(history, person.id)
        ]
        if not history.plan.acts:
            said = list(verdicts(history, person.id).values())
            said = said[1::2] if is_asked_once_more(history, person) else said  # each second one is the last
            known += [(at, min((due for due in due_again(history, person.id) if due > at), default=inf)) for at in said]
        calls = [call for call in history.record.of(Kind.SESSION, Kind.MAIL, Kind.TEXT) if call.customer == person.id]
        for call in calls if known else ():
            if left_late(history, call):
                continue
            for at, until in known:
                applied = max(at, history.calm_at, CALM if at < CALM else 0.0) + APPLIED + IN_FLIGHT
                if applied < call.sent_at < until:
                    yield f"{person.id} has submitted, known at {at:.0f} s: a {call.kind} leaves {call.sent_at:.0f} s"


def _reviews(history: History, customer: str) -> list[float]:
    """When reviews became known, without those whose session's own question was known before: they are older."""
    found, asked = [], set()
    for one in history.record.happened:
        if one.customer == customer and one.what == f"is known: {QUESTION}":
            asked.add(one.detail)
        elif one.customer == customer and one.what == f"is known: {REVIEW}" and one.detail not in asked:
            found.append(one.at)
    return found


def reminders_leave_in_time(history: History) -> Iterator[str]:
    """The second message with a link leaves no sooner after the first than the first reminder may, and so on."""
    if not history.plan.reminders:
        return
    sent: dict[tuple[str, Kind, str], dict[object, float]] = defaultdict(dict)  # by link: when each message left
    for call in history.record.of(Kind.MAIL, Kind.TEXT):
        if call.processed and not left_late(history, call):
            sent[call.customer, call.kind, call.link or call.token].setdefault(call.key or call, call.sent_at)
    for (customer, kind, _), at in sent.items():
        if any(times(history, what, customer) for what in ("has another address", "the desk gives a new link")):
            continue  # these have a first message of their own; with stable links, for the same link of ours
        first, *others = sorted(at.values())
        for after, later in zip(history.plan.reminders, others, strict=False):
            if later < first + after - SLACK:
                yield f"{customer} gets a {kind} at {first:.0f} s, and is reminded at {later:.0f} s"
