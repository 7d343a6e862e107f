"""The witness's rule of what a list brings: what `check --json` forecasts of a customer whom nobody else does anything
with is what leaves, to the number. `left_alone` says who those are, and the command how many."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from math import inf
from typing import NamedTuple

from trials.simulation.plan import MESSAGES
from trials.simulation.play import History
from trials.simulation.records import Kind
from trials.simulation.rules.reading import left_late, may_be_unknown, sessions_of
from trials.simulation.witness import NOTHING, Forecast, seconds, slack_of


class Held(NamedTuple):
    """How many lists have a row that was held to the number, and how many rows; of how many."""

    lists: int = 0
    of_lists: int = 0
    rows: int = 0
    of_rows: int = 0

    def __add__(self, other: tuple[int, ...]) -> "Held":  # type: ignore[override]
        return Held(*(one + another for one, another in zip(self, other, strict=True)))

    def __str__(self) -> str:
        rows = f"{self.rows} of {self.of_rows} rows"
        return f"`check` was held to the number for {rows}, of {self.lists} of {self.of_lists} lists; else at most"


BY_CHANNEL = {Kind.MAIL: "email", Kind.TEXT: "sms"}
SHARED = 600.0  # seconds until all messages to one address have left
BEFORE_END = 30.0  # seconds before a link's end in which it may be replaced
# What changes no number, only when it happens; and acts that are noted with each of their customers, too.
DELAYS = ("paused", "resumed", "stopped", "goes on", "went on", "a person does", "verdict", "updated")
OF_CUSTOMERS = ("another_list", "planned_list", "other_persons", "return_report", "new_link", "send_again", "correct")
BY_NAME = tuple(f"the office: {act}" for act in (*OF_CUSTOMERS, "erase"))
INTERFERES = (
    *("row cannot be read", "the office", "the desk", "a person answers"),
    *("has another", "cancelled", "erased", "requested", "not me"),
)
ANSWERS = ("finished", "is known")  # where another session may follow one
COMES = (*ANSWERS, "presses", "is led to")


def each_list_brings_what_was_forecast(history: History) -> Iterator[str]:
    """The sessions of each account, and the first messages on each channel: of each customer who was left alone, to the
    number; of the others never more, before somebody else does something with them."""
    for one in history.record.forecasts:
        facts, who, alone = one.facts, f"the list of {one.at:.0f} s", left_alone(history, one)
        corrected = facts.get("corrected", {"sessions": {}, "messages": {}})
        sessions = Counter(facts["now"]) + Counter(corrected["sessions"])
        messages = Counter(facts["first_messages"]) + Counter(corrected["messages"])
        most = one.plan.most_credits if one.plan is not None else None
        if most is not None and most < sessions.total():
            bought = sum(_bought(history, one, customer, inf).total() for customer in one.customers)
            if alone.keys() == one.customers and bought > most:
                yield f"{who} buys {bought} sessions, and may buy {most}"
        elif one.each is not None:
            said = [Counter(chain.from_iterable(each)) for each in zip(NOTHING, *one.each.values(), strict=True)]
            for customer in sorted(one.customers - one.busy) if not one.held else ():
                each, until = one.each.get(customer, NOTHING), _undisturbed_until(history, one, customer)
                given = Counter(each.sessions), Counter(each.channels)
                yield from _wrong(history, one, {customer: until}, *given, is_out=customer in alone)
            if said[1] != +messages or (history.plan.stable != "on-click" and said[0] != +sessions):
                yield f"{who}: `check` said {dict(sessions)} and {dict(messages)}, and of its customers {said}"
        elif alone.keys() == one.customers:
            yield from _wrong(history, one, alone, sessions, messages, is_out=True)


def held_to_the_number(history: History) -> Held:
    found = [(len(left_alone(history, one)), len(one.customers)) for one in history.record.forecasts]
    rows = [rows for rows, _ in found]
    return Held(sum(map(bool, rows)), len(found), sum(rows), sum(all_ for _, all_ in found))


def left_alone(history: History, one: Forecast) -> dict[str, float]:
    """The customers who are out before anybody else does something with them, of whose calls the outcome is known, and
    who may get messages; until when that is."""
    ends = one.facts["forecast"]
    if one.held or (ends["finishes_at"] is None and ends["limited_by"] is not None):
        return {}
    untils = {customer: _undisturbed_until(history, one, customer) for customer in one.customers - one.busy}
    alone = {customer: until for customer, until in untils.items() if _out_by(history, one, until) <= until}
    return {customer: until for customer, until in alone.items() if not _has_spent_its_messages(history, one, customer)}


# What it asks.


def _wrong(
    history: History,
    one: Forecast,
    alone: dict[str, float],
    sessions: Counter[str],
    messages: Counter[str],
    *,
    is_out: bool,
) -> Iterator[str]:
    """What is wrong with what these customers have got until then; of who is not out yet, only what is too much."""
    who = f"of the list of {one.at:.0f} s, {', '.join(sorted(alone))}"
    bought = sum((_bought(history, one, *each) for each in alone.items()), Counter[str]())
    bought_, sessions_ = _named(history, bought), _named(history, +sessions)
    if history.plan.stable != "on-click" and (bought_ != sessions_ if is_out else bought_ - sessions_):
        yield f"{who}: sessions {dict(bought)}, and `check` said {dict(+sessions)}"
    sent = sum((_first_messages(history, one, *each) for each in alone.items()), Counter[str]())
    if sent != +messages if is_out else sent - messages:
        yield f"{who}: messages {dict(sent)}, and `check` said {dict(+messages)}"


def _undisturbed_until(history: History, one: Forecast, customer: str) -> float:
    """When something else than the list first acts on the customer."""
    plan, until = history.plan, [history.ended_at]
    # A mail to a mailbox that others share waits for its place, and the customer may have come by the text before.
    follows = plan.tries_again or plan.renews_for or plan.shared
    acts = (*INTERFERES, *(ANSWERS if follows else ()), *(("presses",) if plan.shared else ()))
    for happened in history.record.happened:
        concerns = happened.customer in ("", customer) and happened.at > one.at
        if concerns and happened.what.startswith(acts) and not happened.what.startswith(BY_NAME):
            until.append(happened.at)
        if plan.faults and happened.customer == customer and happened.at > one.at and happened.what.startswith(COMES):
            # It has come by one message before a fault let the other leave, which is not sent then.
            said = len((one.each or {}).get(customer, NOTHING).channels)
            if _first_messages(history, one, customer, happened.at).total() < said:
                until.append(happened.at)
    ends = [(call.sent_at, call.expires_at) for call in sessions_of(history, customer) if call.processed]
    until += [end - BEFORE_END - plan.ahead for _, end in ends if end > one.at]
    before = [end for sent_at, end in ends if sent_at <= one.at]
    if before and max(before) <= one.at and not any((one.each or {}).get(customer, NOTHING)):
        until.append(one.at)  # the row that it is of may replace it at any time, also one whose address was changed
    if plan.capped:  # whom `check` did not know of may take the credits that were left
        taken = (call for call in history.record.of(Kind.SESSION) if call.customer not in one.customers | one.busy)
        until += [call.sent_at for call in taken if call.account == "kyc" and call.sent_at >= one.at]
    calls = (call for call in history.record.calls if call.customer == customer)
    until += [call.sent_at for call in calls if may_be_unknown(history, call) or left_late(history, call)]
    return min(until)


def _out_by(history: History, one: Forecast, until: float) -> float:
    """When the list is out at the latest."""
    ends, plan = one.facts["forecast"]["finishes_at"], one.plan
    begins = max(seconds(plan.start_at), one.at) if plan is not None and plan.start_at is not None else one.at
    takes = max(seconds(ends) - one.at, 0.0) if ends is not None else 0.0
    delays = [at for what in DELAYS for at in _begun(history, what) if one.at <= at < until]
    if history.plan.pilot and not _begun(history, "verdict"):
        return inf
    slack = slack_of(history.plan) + SHARED * history.plan.shared
    out_by = max(begins + takes, history.calm_at, *delays) + slack
    quiet_from, quiet_until = history.plan.quiet_seconds
    # A pause or a fault may have delayed it into quiet hours that the forecast was out before.
    return max(out_by, quiet_until + slack) if one.at < quiet_until and out_by > quiet_from else out_by


def _has_spent_its_messages(history: History, one: Forecast, customer: str) -> bool:
    """Whether those before leave too few: `check` counts no customer's cap, and a session is bought all the same."""
    calls = [call for call in history.record.of(*BY_CHANNEL) if call.customer == customer and call.sent_at < one.at]
    channels = (one.each or {}).get(customer, NOTHING).channels
    return len({call.key or id(call) for call in calls}) + len(channels) > MESSAGES


def _begun(history: History, what: str) -> list[float]:
    return [one.at for one in history.record.happened if one.what.startswith(what)]


def _named(history: History, sessions: Counter[str]) -> Counter[str]:
    """By account; where one takes over from another, together."""
    together = any(person.account == "both" for person in history.plan.people)
    return +Counter({"all": sessions.total()}) if together else sessions


def _bought(history: History, one: Forecast, customer: str, until: float) -> Counter[str]:
    calls = [call for call in history.record.of(Kind.SESSION) if call.customer == customer]
    return Counter(call.account for call in calls if call.processed and one.at <= call.sent_at < until)


def _first_messages(history: History, one: Forecast, customer: str, until: float) -> Counter[str]:
    """By channel: each link that an address gets for the first time. Of an adopted one only reminders may follow."""
    seen, found = set[tuple[str, str]](), Counter[str]()
    known = {call.token for call in history.record.of(Kind.ADOPTED)} if history.plan.reminders else ()
    calls = [call for call in history.record.of(*BY_CHANNEL) if call.customer == customer and call.token not in known]
    for call in sorted(calls, key=lambda call: call.sent_at):
        link = (call.to, call.link or call.token)
        if call.processed and link not in seen and call.sent_at < until:
            seen.add(link)
            found[BY_CHANNEL[call.kind]] += call.sent_at >= one.at
    return +found
