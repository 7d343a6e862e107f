"""The witness's rules of numbers: what is counted is what provider, relay and phones have counted; and what `check`
forecasts of a list is what its import finds, and what leaves then, at most."""

import re
from collections import Counter
from collections.abc import Iterator
from math import inf

from onboarding_worker.reporting.store.spending import sum_of
from trials.simulation.play import History
from trials.simulation.records import Call, Kind
from trials.simulation.rules.reading import CLOCKS, left_late, may_be_unknown, times
from trials.simulation.witness import seconds

OPENED, LEFT = re.compile(r"^(\w+) opened (a|another) session"), re.compile(r" left( \(.*\))?\.$")
INVITED = re.compile(r"^([\d,]+) of ([\d,]+) rows? (is|are) invited")
NOT_OWN = ("duplicate", "known", "joined")
IN_FLIGHT = 20.0  # a call of so short a time before may not be stored
BY_CHANNEL = {"email": Kind.MAIL, "sms": Kind.TEXT}
CANCELLED = "the batch or the job was cancelled"


def each_customer_has_what_was_counted(history: History) -> Iterator[str]:
    """Of each customer: the credits are the sessions that its calls have opened, but for calls that brought none, which
    are told apart; the messages are those that left to it. Another tool has bought and sent what was adopted."""
    for look in (one for one in history.record.looks if one.said):
        for customer, facts in look.customers.items():
            calls = _until(history, look.at, customer, Kind.SESSION)
            for account in sorted({*facts["credits"], *(call.account for call in calls)}):
                bought = [call for call in calls if call.account == account]
                most, lost = (facts[name].get(account, 0) for name in ("credits", "lost_calls"))
                if wrong := _misspent(history, bought, most, lost, look.at):
                    yield f"{customer}: credits of {account} {wrong}"
            texts = [text for _, text in facts["timeline"]]
            opened, left = (sum(bool(one.search(text)) for text in texts) for one in (OPENED, LEFT))
            messages = _each_once(_until(history, look.at, customer, Kind.MAIL, Kind.TEXT))
            if wrong := _miscounted(history, calls, opened, look.at):
                yield f"{customer}: opened sessions {wrong}"
            if wrong := _miscounted(history, messages, left, look.at):
                yield f"{customer}: messages that left {wrong}"


def each_list_has_what_was_counted(history: History) -> Iterator[str]:
    """Over all lists: the credits of the reports are the sessions of each account, and the messages those of each
    channel."""
    for look in history.record.looks[-1:]:
        for account in sorted({call.account for call in history.record.of(Kind.SESSION)}):
            calls = [call for call in history.record.of(Kind.SESSION) if call.account == account]
            spent = sum_of(look.spent.values())
            if wrong := _misspent(history, calls, spent.calls[account], spent.lost[account], look.at):
                yield f"{account}: credits of the reports {wrong}"
        for channel, kind in BY_CHANNEL.items():
            said, calls = sum(one.messages[channel] for one in look.spent.values()), _each_once(history.record.of(kind))
            if wrong := _miscounted(history, calls, said, look.at):
                yield f"{channel}: messages of the reports {wrong}"


def who_is_said_to_be_invited_has_a_message(history: History) -> Iterator[str]:
    """A list's headline counts those who were written to; its second number, the customers of its own rows."""
    for look in (one for one in history.record.looks if one.said):
        for batch, words in look.headlines.items():
            found = INVITED.match(words)
            if found is None:
                continue
            reached, own = (int(found[number].replace(",", "")) for number in (1, 2))
            every = [line for line in look.lines if line.batch == batch]
            lines = [line.customer for line in every if line.values["state"] not in NOT_OWN]
            got = sum(bool(_until(history, look.at, one, Kind.MAIL, Kind.TEXT, Kind.ADOPTED)) for one in lines)
            if own != len(every) or reached > got:
                yield f"batch {batch}: {words!r} at {look.at:.0f} s; of {len(lines)} rows {got} are written to"


def who_is_said_to_be_cancelled_was(history: History) -> Iterator[str]:
    """What is said to be cancelled somebody has cancelled: it is not of who was erased. Of an event whose answer was
    lost, only the next one's is known: a duplicate."""
    words = ("the office: cancel", "cancelled", "cancelled: duplicate")
    by_hand = [at for what in words for at in times(history, what)]
    for look in (one for one in history.record.looks if one.said):
        for customer, facts in look.customers.items():
            own = [at for what in words for at in times(history, what, customer)]
            for ended, text in facts["timeline"]:
                if CANCELLED not in text:
                    continue
                came, at = seconds(facts["came"].get(ended, ended)) - CLOCKS, seconds(ended)
                # A row under a lease is cancelled when that is over; an erasure after it has not done that.
                before = [one for one in times(history, "erased", customer) if came <= one <= at + CLOCKS]
                # What was cancelled before the erasure was cancelled, also where it ends only after it.
                if min((one for one in own if one >= came), default=inf) <= min(before, default=-inf):
                    continue
                nearest, other = (min((abs(one - at) for one in each), default=inf) for each in (by_hand, before))
                if nearest == inf or other < nearest:
                    yield f"{customer}: {CANCELLED!r} is said at {look.at:.0f} s, and nobody has cancelled it"


def a_proof_names_who_was_there(history: History) -> Iterator[str]:
    """The proof of an erasure counts one person where the details of one were stored, in whatever table."""
    for said in (one for one in history.record.happened if one.what == "proof"):
        was, counted = said.detail.split()
        if was != counted:
            yield f"{said.customer}: the proof of {said.at:.0f} s has {counted} persons, and {was} was stored"


def each_list_becomes_what_was_forecast(history: History) -> Iterator[str]:
    """The import finds what `check` said a moment before: the rejected rows, those with a changed address, those for
    which a session is asked for now, and those that join another list's row."""
    for one in history.record.forecasts:
        rows, found = one.facts["rows"], one.found
        asking, joined = sum(one.facts["now"].values()), rows.get("joined", 0)
        said = {"rejected": rows.get("rejected", 0), "changed": one.facts["changed_addresses"], "joined": joined}
        if history.plan.stable != "on-click":  # else a session is asked for later
            said |= {"asking": asking, "asking or joined": asking + joined}
        for name in found.keys() & said.keys():
            if found[name] != said[name]:
                yield f"the list of {one.at:.0f} s has {found[name]} {name} rows, and `check` said {said[name]}"


def no_list_costs_more_than_was_forecast(history: History) -> Iterator[str]:
    """All lists together bring no more sessions and messages than `check` said at worst, where lists alone bring some,
    and no person of the office asks for more."""
    plan, sessions, messages = history.plan, Counter[str](), Counter[str]()
    for one in history.record.forecasts:
        corrected = one.facts.get("corrected", {"sessions": {}})
        messages += Counter(one.facts["messages"])
        sessions += Counter(one.facts["credits"]) + Counter(corrected["sessions"])
    more = ("the desk", "a person answers", "the office: retry", "the office: correct", "the office: run_again")
    beside = any(one.what.startswith(more) for one in history.record.happened)
    if (
        beside
        or plan.renews_for
        or plan.tries_again
        or any(one.asked_at is not None or one.adopted for one in plan.people)
    ):
        return
    for channel, kind in BY_CHANNEL.items():
        sent = [call for call in _each_once(history.record.of(kind)) if not _is_unsure(history, call)]
        if _processed(sent) > messages[channel]:
            yield f"{channel}: {_processed(sent)} messages left, and `check` said {messages[channel]} at worst"
    calls = [call for call in history.record.of(Kind.SESSION) if not _is_unsure(history, call)]
    if _processed(calls) > sessions.total():
        yield f"{_processed(calls)} sessions were bought, and `check` said {sessions.total()} at most"


def a_new_address_gets_what_was_forecast(history: History) -> Iterator[str]:
    """Before the end of the link that the old address has, no more new addresses of a list or a report are written to
    than `check` said."""
    for one in history.record.forecasts:
        said, got = one.facts["messages"].get("email", 0), 0
        for change in history.record.happened:
            if change.what != "has another address" or change.at != one.at or not change.detail:
                continue
            if not _until(history, one.at, change.customer, Kind.MAIL):
                continue  # no link has left by mail: the first one goes to the new address, and was to leave anyway
            before = _until(history, one.at, change.customer, Kind.SESSION)
            ends = max((call.expires_at for call in before if call.processed), default=0.0)
            mails = [call for call in history.record.of(Kind.MAIL) if call.processed and call.to == change.detail]
            got += any(one.at < call.sent_at < ends for call in mails)  # reminders follow as before
        if got > said:
            yield f"{got} mails leave to new addresses of the list of {one.at:.0f} s, and `check` said {said}"


# What they ask.


def _until(history: History, at: float, customer: str, *kinds: Kind) -> list[Call]:
    return [call for call in history.record.of(*kinds) if call.customer == customer and call.sent_at <= at]


def _misspent(history: History, calls: list[Call], most: int, lost: int, at: float) -> str:
    """What is wrong with the credits of these calls; "" for nothing. At most so many, and the `lost` of them are not
    sure: what is said as certain was bought, and what was bought, and answered, is said."""
    done = _processed(calls)
    open_ones = [call for call in calls if call.status >= 500 or _is_open(history, call, at)]
    if most - lost > done or lost > _most_of(history, len(open_ones)):
        return f"{most} with {lost} in doubt at {at:.0f} s, and {done} are counted outside"
    return "" if most >= _sure(history, calls, at) else f"{most} at most at {at:.0f} s, and {done} are counted outside"


def _miscounted(history: History, calls: list[Call], said: int, at: float) -> str:
    """What is wrong with this number of calls that were carried out; "" for nothing. A call whose outcome nobody knows
    may count."""
    done = _processed(calls)
    most = _most_of(history, done + sum(_is_open(history, call, at) for call in calls))
    is_so = _sure(history, calls, at) <= said <= most
    return "" if is_so else f"{said} at {at:.0f} s, and {done} are counted outside"


def _most_of(history: History, calls: int) -> float:
    """Where a process ended or stood still, calls may be counted that never left."""
    return inf if history.record.interrupted or history.record.outages else calls


def _sure(history: History, calls: list[Call], at: float) -> int:
    return sum(call.processed and not _is_open(history, call, at) for call in calls)


def _is_open(history: History, call: Call, at: float) -> bool:
    """Whether it may not be known, or not yet, what became of the call."""
    return _is_unsure(history, call) or call.sent_at > at - IN_FLIGHT


def _is_unsure(history: History, call: Call) -> bool:
    return may_be_unknown(history, call) or left_late(history, call)


def _processed(calls: list[Call]) -> int:
    return sum(call.processed for call in calls)


def _each_once(messages: list[Call]) -> list[Call]:
    """A mail that is handed over again is the same mail."""
    found: dict[object, Call] = {}
    for call in messages:
        key = call.key or call
        found[key] = call if call.processed else found.get(key, call)
    return list(found.values())
