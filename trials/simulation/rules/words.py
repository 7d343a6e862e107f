"""The witness's rules of what comes next: what the product says of times, of persons, and of links is so.

"Nobody is needed until then": it has moved by then, if nobody does anything. "A person is needed": without the person
it stays, and after what the person did it is not said any more. Nothing here asks why the engine did it.
"""

import re
from collections.abc import Iterator, Mapping
from math import inf
from typing import Any

from trials.simulation.play import History
from trials.simulation.records import Call, Kind
from trials.simulation.rules.reading import CLOCKS, left_late, sessions_of
from trials.simulation.witness import Look, seconds, slack_of

# What people, and events of theirs, do: from then on a word of before is not held to anything.
ACTS = (
    *("the office", "the desk", "a person", "has another", "paused", "resumed", "stopped", "went on", "goes on"),
    *("cancelled", "erased", "requested", "updated"),
)
NEWS = ("finished", "is known", "the provider has", "presses", "visits", "not me")  # what customers and providers do
# Of a limit, as a report has it and as pages do: of those who wait for it only the first goes on then.
IN_TURN = ("limit_used_up", "then in turn, by")
IN_FLIGHT = 20.0  # a call that was begun before
ASKS_AGAIN = "onboard account resume"  # of an account whose credentials are refused: a worker asks it again, too
MOST_CREDITS = re.compile(r"(--most-credits) \d+")


def what_waits_for_a_time_moves_by_then(history: History) -> Iterator[str]:
    """Who waits for a time, and needs no person, has moved soon after it: in a report, and on the customer's page."""
    slack, calm = slack_of(history.plan), history.calm_at
    for look in (one for one in history.record.looks if one.said):
        acted = _first_act(history, look.at)
        for one in look.next:
            if one.action or one.until is None:
                continue
            due = max(seconds(one.until), look.at, calm) + slack
            later = _seen_after(history, due, before=acted)
            if later is None or (any(words in one.words for words in IN_TURN) and later.rows != look.rows):
                continue
            if later.rows.get(one.customer) == look.rows.get(one.customer):
                yield f"{one.customer} waits until {seconds(one.until):.0f} s, said at {look.at:.0f} s ({one.words})"


def a_list_is_out_by_its_forecast(history: History) -> Iterator[str]:
    """By the time at which `status` says that a list is out, it is; what waits apart from that, it names."""
    slack, calm = slack_of(history.plan), history.calm_at
    # Where calls are minutes apart, a look-up of what a later fault breaks takes minutes of what was forecast before.
    held_from = calm if history.plan.hourly else 0.0
    for look in (one for one in history.record.looks if one.said and one.at >= held_from):
        acted = _first_act(history, look.at)
        for batch, facts in look.batches.items():
            ends = facts["forecast"]
            if ends["finishes_at"] is None or ends.get("apart"):
                continue
            due = max(seconds(ends["finishes_at"]), look.at, calm) + slack
            if history.plan.hourly and "go first" in ends["limited_by"]:  # chance gives a list one turn more
                due += 3600 / history.plan.hourly
            later = _seen_after(history, due, before=acted)
            if later is None:
                continue
            left = _unsent(look, batch) & _unsent(later, batch)
            if history.plan.stable == "on-click":  # who pressed the button waits for a session, and has the message
                left = {one for one in left if not any(row[0] == "message" and row[-1] for row in look.rows[one])}
            if left and all(look.rows[customer] == later.rows[customer] for customer in left):
                words = f"{ends['limited_by']}, said at {look.at:.0f} s"
                yield f"batch {batch} is out by {seconds(ends['finishes_at']):.0f} s ({words}): {sorted(left)} wait"


def what_waits_for_a_person_waits(history: History) -> Iterator[str]:
    """Who waits for what a person is to do gets nothing before a person has done something."""
    for look in (one for one in history.record.looks if one.said):
        acted = _first_act(history, look.at)
        for customer, words in _needing(look):
            before = min(acted, _first_act(history, look.at, NEWS, customer))
            for call in _leaving(history, customer):
                leaves = call.processed and look.at + IN_FLIGHT < call.sent_at < before
                if leaves and not left_late(history, call):
                    yield f"{customer} gets a {call.kind} at {call.sent_at:.0f} s; said at {look.at:.0f} s: {words}"


def what_a_person_has_done_is_not_asked_for_again(history: History) -> Iterator[str]:
    """After the command that is to help, no page names it again for the same, if nobody has done anything else."""
    for done in (one for one in history.record.happened if one.what == "a person does"):
        acted = _first_act(history, done.at + 1)
        for look in history.record.looks:
            if not look.said or not done.at + slack_of(history.plan) <= look.at < acted or look.at < history.calm_at:
                continue
            for words in _commands(look):
                if words == done.detail:
                    yield f"`{words}` was done at {done.at:.0f} s, and is asked for at {look.at:.0f} s"


def what_one_page_asks_of_a_person_the_whole_does(history: History) -> Iterator[str]:
    """Where a row's page or a report names the command without which it does not go on, `status` and On call do too:
    they do not say that nothing is stuck."""
    for look in (one for one in history.record.looks if one.said):
        whole = {_named(one.action) for one in look.needs}
        for one in look.next:
            for command in re.findall(r"`(onboard resume [^`]+)`", one.action):
                if _named(command) not in whole:
                    yield f"{one.customer} waits for `{command}` at {look.at:.0f} s, and `status` does not name it"
        page = look.of_features.get("on call")
        if page is not None and sorted(one["command"] for one in page["stuck"]) != sorted(
            one.action for one in look.needs
        ):
            yield f"On call says {page['headline']!r} at {look.at:.0f} s, and `status` {len(look.needs)} things"


def each_link_opens_as_long_as_it_is_said_to(history: History) -> Iterator[str]:
    """A link that is said to work until a time does, and one of a session that has ended does not open any more."""
    for look in (one for one in history.record.looks if one.said):
        for customer, facts in look.customers.items():
            calls = [call for call in sessions_of(history, customer) if call.processed]
            sessions = [
                (one, _of_session(history, calls, one)) for one in facts["sessions"] if one["state"] != "deferred"
            ]
            for one, call in sessions:
                until = seconds(one["expires_at"])
                if call is None or until > call.expires_at + CLOCKS:
                    yield f"{customer}: a link that is said to work until {until:.0f} s does not"
                elif one["state"] == "expired" and _opens(history, call, look.at + CLOCKS):
                    yield f"{customer}: a session that has ended opens at {look.at:.0f} s"


# What they ask.


def _first_act(history: History, after: float, any_of: tuple[str, ...] = ACTS, customer: str = "") -> float:
    """When something of these is done next, to this customer or to anybody."""
    found = (one for one in history.record.happened if one.at > after and one.what.startswith(any_of))
    return min((one.at for one in found if customer in ("", one.customer)), default=inf)


def _seen_after(history: History, at: float, *, before: float) -> Look | None:
    return next((one for one in history.record.looks if at <= one.at < before), None)


def _unsent(look: Look, batch: int) -> set[str]:
    """The customers of the list's own rows that wait for their session or first message."""
    unsent = ("waiting", "working", "issued")
    return {
        customer
        for customer, rows in look.rows.items()
        if any(row[0] == "row" and row[2] == batch and row[3] in unsent and row[6] is None for row in rows)
    }


def _needing(look: Look) -> Iterator[tuple[str, str]]:
    """The customers whose only row that is worked waits for a person, and what is said of it."""
    for one in look.next:
        for_person = one.action and not one.action.startswith("nothing") and ASKS_AGAIN not in one.action
        if for_person and _only_row(look, one.customer):
            yield one.customer, one.words or one.action
    for line in look.lines:
        state, action = line.values["state"], line.values["action"]
        if state in ("held", "failed") and "onboard" in action and _only_row(look, line.customer):
            yield line.customer, f"{state}: {action}"


def _only_row(look: Look, customer: str) -> bool:
    return len([row for row in look.rows.get(customer, ()) if row[0] == "row" and row[6] is None]) == 1


def _commands(look: Look) -> set[str]:
    """The commands that are asked for. `account resume` is no one's here: an account asks again by itself."""
    found = {one.action for one in look.needs}
    found |= {command for one in look.next for command in re.findall(r"`([^`]+)`", one.action)}
    return {_named(command) for command in found}


def _named(command: str) -> str:
    return MOST_CREDITS.sub(r"\1 N", command)


def _opens(history: History, call: Call | None, at: float) -> bool:
    """Whether the link of this session, which the customer has, leads to it then."""
    if call is None or history.plan.stable or call.expires_at <= at or (call.ended_at or inf) <= at:
        return False
    left = any(
        one.token == call.token and one.processed and one.sent_at < at for one in _messages(history, call.customer)
    )
    return left or call.kind is Kind.ADOPTED


def _of_session(history: History, calls: list[Call], session: Mapping[str, Any]) -> Call | None:
    """The call that has opened it: of those with its reference the one whose session ends then. Of who was erased a
    reference of ours is the job's id alone, without the session's number."""
    ends = seconds(session["expires_at"])
    same = [call for call in calls if history.references[call.token].startswith(session["reference"])]
    return min(same, key=lambda call: abs(call.expires_at - ends), default=None)


def _messages(history: History, customer: str) -> list[Call]:
    return [call for call in history.record.of(Kind.MAIL, Kind.TEXT) if call.customer == customer]


def _leaving(history: History, customer: str) -> list[Call]:
    return [*sessions_of(history, customer), *_messages(history, customer)]
