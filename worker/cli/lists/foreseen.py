"""What a list would need if it were sent now: its calls, messages and costs, how long it takes, and what corrected
addresses get; which of its customers are served already, and which rows share an address."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from onboarding_worker.cli.exits import CannotStart
from onboarding_worker.cli.sample_message import example, rendered
from onboarding_worker.core.foundation.notation import counted, show_duration, written, written_if_any
from onboarding_worker.core.model.channels import folded_email, is_mail
from onboarding_worker.core.model.customers import Channel, FieldProblem, invitation_channels
from onboarding_worker.core.rules.contact import AddressCap, CorrectedRule, Wording, following, without_tag
from onboarding_worker.core.rules.given_links import AnotherSession, GivenLink, SameLink, after_corrected_address
from onboarding_worker.core.rules.quiet_hours import allowed_at
from onboarding_worker.lists.importing.judging import Judged, count_accepted, group_of
from onboarding_worker.lists.lines import AcceptedLine, PlainRows
from onboarding_worker.lists.returned import Change, ReturnedReport
from onboarding_worker.lists.same_person import Seen
from onboarding_worker.plans.store.plans import Planned
from onboarding_worker.reporting.forecast import Forecast, through_nights
from onboarding_worker.reporting.prices import Prices
from onboarding_worker.reporting.row_groups import sets_in_words
from onboarding_worker.reporting.store.outlook import CallsNow
from onboarding_worker.settings.money import amounts_in_words, in_json
from onboarding_worker.settings.policies import buys_on_click, stable_links
from onboarding_worker.templates.values import base_of
from onboarding_worker.wiring.container import Parts

CHUNK = 1000  # lines in one question to the database
SHARED = "each of the two gets a link to it; `messages_per_address` bounds how many"
ONE_ENTITY = "FrankieOne gives both customers one session: correct the id that is wrong"
# Now and at most, each by currency; empty without any price.
Costs = Mapping[str, Mapping[str, Decimal]]
# As long as iDenfy's; our own stable links are shorter.
LINK = f"https://verify.example.com/{'x' * 62}"
_SAME = {"email": "mailbox", "phone": "number"}
# The addresses that an invitation goes to: 1 the email address, 2 the phone.
_TOGETHER = {frozenset(invitation_channels(channel)): channel for channel in Channel}
_WRITTEN = {channel: sum({1 if is_mail(name) else 2 for name in invitation_channels(channel)}) for channel in Channel}
MOST_NAMED = 8  # languages, countries
MOST_WORDINGS = 100  # of a list with more templates and languages the others count as the last one does


def _corrected(parts: Parts, judged: Judged) -> Iterator[tuple[Change, int]]:
    """What the addresses that a list changes get, and of how many rows. The caps are not asked: they may leave some of
    them out."""
    rule, now = CorrectedRule(parts.settings.follow_up.corrected_address), parts.clock()
    for (account, ends, channels, corrected_ones), rows in judged.old_links.items():
        if ends is None:
            yield Change(0, "", "", channels=corrected_ones), rows
            continue
        provider = parts.intake.providers.get(account)
        allowed_from = ends if provider is None else provider.reissue_at(ends)
        match after_corrected_address(GivenLink(True, ends, allowed_from), rule, now=now):
            case AnotherSession():
                yield Change(0, "", "", account=account, channels=channels), rows
            case SameLink():
                yield Change(0, "", "", channels=corrected_ones), rows
            case _:
                yield Change(0, "", "", channels=channels, waits_until=ends), rows


def _facts_of_corrected(parts: Parts, judged: Judged, changes: Iterable[tuple[Change, int]]) -> dict[str, Any]:
    """By account the sessions that are asked for at once; how many get the same link; how many wait for the end of the
    old one, and until when; how many failed rows are tried again. By channel the messages that go at once, and what
    all cost; each text as the longest of the list."""
    sessions, messages, numbers, ends = Counter[str](), Counter[str](), Counter[str](), set[datetime]()
    for one, rows in changes:
        if one.waits_until is not None:
            ends.add(one.waits_until)
        else:
            messages.update(dict.fromkeys(one.channels, rows))
        if one.account:
            sessions[one.account] += rows
        follows = "again" if one.again else "wait" if one.waits_until else "session" if one.account else "same_link"
        numbers[follows] += rows
    cost = Prices.of(parts.settings).with_texts_of(segments_of(parts, judged)[1]).total(sessions, messages)
    return {
        "sessions": dict(sorted(sessions.items())),
        "messages": dict(sorted(messages.items())),
        **({"cost": in_json(cost)} if cost else {}),
        "same_link": numbers["same_link"],
        "wait": numbers["wait"],
        "until": written_if_any(max(ends, default=None)),
        **({"again": numbers["again"]} if numbers["again"] else {}),
    }


def beside_corrected(facts: Mapping[str, Any]) -> str:
    """What is said of the other rows' sessions, where changed addresses get some at once."""
    return " for the other rows" if facts.get("corrected", {}).get("sessions") else ""


def corrected_in_words(facts: Mapping[str, Any]) -> list[str]:
    """Lines about them; {}: there are none."""
    if not facts:
        return []
    until = f", the last until {facts['until']}"
    said = {
        "another session at once, one credit each": ", ".join(f"{n} {rows:,}" for n, rows in facts["sessions"].items()),
        "failed rows are tried again": counted(again, "row") if (again := facts.get("again")) else "",
        "the link goes to the new address": counted(same, "row") if (same := facts["same_link"]) else "",
        "messages with the link": ", ".join(f"{n:,} {channel}" for channel, n in facts["messages"].items()),
        "cost of both": amounts_in_words(facts.get("cost", {})),
        "nothing before the end of the link that the old address has": (
            counted(facts["wait"], "row") + until if facts["wait"] else ""
        ),
    }
    return [f"  {what}: {words}" for what, words in said.items() if words]


def foreseen(
    parts: Parts,
    judged: Judged,
    due: Judged,
    answering: Collection[str],
    *,
    apart: Sequence[str],
    batch: int | None,
    report: ReturnedReport | None = None,
    planned: Planned | None = None,
    alone: bool = True,
    joined: int = 0,
) -> dict[str, Any]:
    """`due`: the rows for which a session is asked for now. `answering`: the senders and accounts that work now.
    `apart`: what the forecast leaves out, in words. `batch`: the list's own, whose rows may wait for lost answers.
    `report`: the list, if it is one that comes back. `planned`: how it goes out, if the forecast is to follow that.
    `alone`: a `run` is to work this list alone; else what goes before it at running workers counts. `joined`: rows that
    follow another list's row."""
    settings = parts.settings
    (now, at_most), by_day, at = _calls(parts, due), partial(_by_day, parts, due), parts.clock()
    until = by_day(Forecast(at, None), at).finishes_at or at  # when it is quiet no more
    known = parts.batches.find(str(batch)) if batch is not None and not alone else None
    # The calls and messages of other lists that go first at running workers.
    ahead = {} if alone else parts.reporting.ahead(known, planned, now, until=until)
    calls = parts.reporting.before_click(due.routes, due.unsent)
    ends = parts.reporting.of_calls(calls, due.messages, ahead=ahead, texts=due.texts, answering=answering)
    if planned is None:
        ends = by_day(ends, parts.clock())
    else:
        ends = parts.reporting.by_plan(planned, parts.facts.counts(planned.batch_id), ends, by_day=by_day)
    ends = parts.reporting.with_rows_apart(batch, ends) if batch is not None else ends
    apart = [*ends.apart, *apart]
    # A reader of the document finds email and sms always, and another channel where it has a sender.
    shown = dict.fromkeys([*invitation_channels(Channel.BOTH), *settings.sending])
    most_messages = {channel: reached_on(channel, parts, due) * _most_on_a_channel(parts) for channel in shown}
    used = {channel: number for channel, number in most_messages.items() if number}
    changes = report.changes if report is not None else ()
    returned = [(one, 1) for one in changes if one.account or one.channels or one.waits_until]
    all_changes = [*_corrected(parts, judged), *returned]
    costs, others = costs_of(parts, due), _facts_of_corrected(parts, judged, all_changes)
    for one, rows in all_changes:
        # A link that is waited for is that of a reissue, whose message is counted already, but behind our own link.
        for channel in one.channels if one.waits_until is None or stable_links(settings) is not None else ():
            most_messages[channel] += rows
    return {
        "rows": {
            "total": judged.total,
            "accepted": judged.accepted,
            "rejected": judged.rejected,
            "duplicate": judged.duplicate,
            **({"known": judged.known} if judged.known else {}),
            **({"joined": joined} if joined else {}),
        },
        "changed_addresses": judged.changed + len(returned) - others.get("again", 0),
        **({"corrected": others} if judged.changed or returned else {}),
        "routes": dict(sorted(judged.routes.items())),
        **({"brands": dict(sorted(judged.brands.items()))} if settings.brands else {}),
        **_mix(parts, judged),
        "served": judged.accepted - due.accepted,
        "now": now,
        "credits": at_most,
        "first_messages": {channel: due.messages.get(channel, 0) for channel in shown},
        "messages": most_messages,
        **({"cost": {words: in_json(amounts) for words, amounts in costs.items()}} if costs else {}),
        **({"without_price": Prices.of(settings).missing(at_most, used)} if costs else {}),
        "forecast": {
            "finishes_at": written_if_any(ends.finishes_at),
            "limited_by": ends.limited_by,
            "assumed": ends.assumed,
            **({"apart": apart} if apart else {}),
        },
        **({"plan": planned.plan.in_words} if planned is not None else {}),
    }


def _mix(parts: Parts, judged: Judged) -> dict[str, Any]:
    """The accepted rows by the language of their messages, by channel and by country, the most first."""
    languages, channels = Counter[str](), Counter[str]()
    without = 0
    for (channel, template, locale, brand), rows in judged.spoken.items():
        channels[channel.value] += rows
        for first in invitation_channels(channel)[:1]:
            language = parts.templates.language(first, template=template, locale=locale, brand=brand)
            languages[language] += rows
            without += 0 if base_of(language) == base_of(locale) else rows  # none, or one that no template has

    def named(counts: Counter[str]) -> dict[str, int]:
        return {name: rows for name, rows in counts.most_common() if name}

    return {
        "languages": named(languages),  # but for rows that no template can write to
        "without_language": without,
        "channels": named(channels),
        "countries": named(judged.countries),
        "without_country": judged.countries[""],
        **({"sets": dict(sorted(judged.sets.items()))} if judged.sets else {}),
    }


def mix_in_words(facts: Mapping[str, Any]) -> list[str]:
    """A line for each of languages, channels and countries that says something: what all rows have is not said. And
    what rows set that needs a right."""
    sets = facts.get("sets")
    lines = [f"rows set what needs a right: {sets_in_words(sets)}"] if sets else []
    for name, one in (("languages", "language"), ("channels", "channel"), ("countries", "country")):
        found, without = facts[name], facts.get(f"without_{one}", 0)
        if len(found) > 1 or (found and without):
            shown = ", ".join(f"{word} {rows:,}" for word, rows in [*found.items()][:MOST_NAMED])
            more = f" and {len(found) - MOST_NAMED:,} more" if len(found) > MOST_NAMED else ""
            lines.append(f"{name}: {shown}{more}" + (f" ({without:,} without a {one})" if without else ""))
    return lines


def _calls(parts: Parts, due: Judged) -> tuple[dict[str, int], dict[str, int]]:
    """The calls by account: now, and at most, where every link expires unused."""
    calls = dict(sorted(due.routes.items()))
    # Bought on click, only the sessions of rows without a message are asked for now.
    now = {account: due.unsent.get(account, 0) for account in calls} if buys_on_click(parts.settings) else calls
    sessions = 1 + parts.settings.follow_up.most
    return now, {account: rows * sessions for account, rows in calls.items()}


def costs_of(parts: Parts, due: Judged) -> Costs:
    """What these rows cost."""
    now, at_most = _calls(parts, due)
    prices, (texts, longest) = Prices.of(parts.settings), segments_of(parts, due)
    charged = {channel: texts if channel == Channel.SMS else number for channel, number in due.messages.items()}
    dearest = prices.with_texts_of(longest).at_most(
        at_most,
        [(_reached(parts, *of), rows) for of, rows in due.reach.items()],
        each=_most_on_a_channel(parts),
        together=parts.settings.invitations.messages_per_customer,
    )
    return {"now": prices.total(now, charged), "at_most": dearest} if dearest else {}


def reached_on(channel: str, parts: Parts, due: Judged) -> int:
    """The rows that may get a message on this channel, as the fallback or by the ladder too."""
    return sum(rows for of, rows in due.reach.items() if channel in _reached(parts, *of))


def _reached(parts: Parts, channels: tuple[str, ...], spare: tuple[str, ...]) -> frozenset[str]:
    """The channels that a customer may get a message on. `spare` are those that it has an address for and did not ask
    for."""
    asked = {*channels, *(parts.contact.ladder.channels & {*spare})}
    fallbacks = parts.contact.fallbacks
    return frozenset(asked | ({other for one in asked for other in following(one, fallbacks)} & {*spare}))


def _on_a_channel(parts: Parts) -> int:
    """The most messages that a customer gets on one channel, without the cap. Behind our own link no message follows
    another session, unless the customer was refused."""
    settings = parts.settings
    follow = stable_links(settings) is None or settings.retry_after_denial.reasons
    return (1 + (settings.follow_up.most if follow else 0)) * (1 + len(parts.contact.reminders))


def _most_on_a_channel(parts: Parts) -> int:
    return min(parts.settings.invitations.messages_per_customer, _on_a_channel(parts))


def most_in_all(parts: Parts, judged: Judged) -> int:
    """The most messages over all channels: `messages_per_customer` counts all channels together."""
    cap, each = parts.settings.invitations.messages_per_customer, _on_a_channel(parts)
    return sum(rows * min(cap, len(_reached(parts, *of)) * each) for of, rows in judged.reach.items())


def _by_day(parts: Parts, judged: Judged, ends: Forecast, begins_at: datetime) -> Forecast:
    """The forecast of work that begins at this time, with the quiet hours of most customers: work that is not done
    before them continues after them. The last may be a customer of any zone."""
    if ends.finishes_at is None:
        return ends
    takes = ends.finishes_at - begins_at
    for channel in sorted({channel for channel, _ in judged.nights}):
        nights = Counter({zones: rows for (on, zones), rows in judged.nights.items() if on == channel}).most_common()
        awake = [partial(allowed_at, zones, parts.hours.quiet[channel]) for zones, _ in nights]
        finishes_at = through_nights(takes, awake[0], now=begins_at)
        finishes_at = max(one(finishes_at) for one in awake)
        if finishes_at > ends.finishes_at:
            ends = ends._replace(finishes_at=finishes_at, limited_by=f"{ends.limited_by}; quiet hours on {channel}")
    return ends


def channels_of(parts: Parts, judged: Judged) -> list[str]:
    """The channels that messages of the list may be sent on."""
    used = {channel for of in judged.reach for channel in _reached(parts, *of)}
    return [channel for channel in parts.channels if channel in used]


@dataclass
class ListCost:
    """Counts accepted lines: in `judged` all of them, in `due` those for which a session is asked for now, the first
    `most` of them. `shared` gets each row whose address an earlier row has, with a warning, or whose entity another
    customer has."""

    parts: Parts
    calls: CallsNow
    due: Judged = field(default_factory=Judged)
    judged: Judged = field(default_factory=Judged)
    first: AcceptedLine | None = None  # the first of them
    shared: Callable[[int, FieldProblem], None] | None = None
    most: int | None = None  # None: all of them
    _lines: list[AcceptedLine | PlainRows] = field(default_factory=list)
    _rows: int = 0  # of these
    _addresses: Seen = field(default_factory=Seen)
    _ids: Seen = field(default_factory=Seen)  # alone, and with a value of their rows
    # By row: the addresses that a message goes to, since a session is asked for now. A byte for each row.
    _written_to: bytearray = field(default_factory=bytearray)
    # The further messages to an address, by its bit there and its first row.
    _more: Counter[tuple[int, int]] = field(default_factory=Counter)

    def add(self, line: AcceptedLine | PlainRows) -> None:
        self._lines.append(line)
        self._rows += len(line.rows) if isinstance(line, PlainRows) else 1
        if self._rows >= CHUNK:
            self.finish()

    def _note_addresses(self, row: int, email: str, phone: str = "", entity: str = "", customer_id: str = "") -> None:
        """Look for the addresses and the entity of the row in the rows above it."""
        told = self.shared or (lambda *_found: None)
        for column, address, bit in (("email", email, 1), ("phone", phone, 2)):
            earlier = self._addresses.row_or_remember(address, column, row) if address else None
            if earlier is not None:
                self._more[bit, earlier] += bool(self._written_to[row] & bit)
                told(row, FieldProblem(column, f"the same {_SAME[column]} as row {earlier}", SHARED))
        if entity:
            first = self._ids.row_or_remember(entity, "entity_id", row)
            same = self._ids.row_or_remember(f"{entity}\n{customer_id}", "entity_id", row)
            if first is not None and same is None:
                problem = f"the same entity_id as row {first}, which has another customer_id"
                told(row, FieldProblem("entity_id", problem, ONE_ENTITY))

    def finish(self) -> None:
        """Ask for the lines that are left."""
        lines, self._lines, self._rows = self._lines, [], 0
        alone = [line for line in lines if isinstance(line, AcceptedLine)]
        keys = {line.row: (line.customer.customer_id, line.customer.purpose) for line in alone}
        # Of whom nothing is stored no more is asked; and what the person before has serves no other.
        new = {keys[line.row] for line in alone if line.is_new or line.takes_id}
        known = {*keys.values()} - new
        asked, go_on = self.calls.of(known, now=self.parts.clock()) if known else (set(), {})
        asked |= new
        groups, due, told, hours = Counter[Any](), Counter[Any](), Counter[Any](), self.parts.hours
        for line in lines:
            if isinstance(line, PlainRows):
                self._add_plain(line, groups, due)
                continue
            row, customer, group = line.row, line.customer, group_of(line, hours)
            groups[group] += 1
            self._written_to.extend(bytes(row + 1 - len(self._written_to)))
            if keys[row] in asked and (self.most is None or self.due.accepted < self.most):
                due[group] += 1
                self.due.accepted += 1
                self.first = self.first or line
                self._written_to[row] = _WRITTEN[customer.channel]
            elif keys[row] in go_on and self.most is None and not line.old_links:  # those are counted apart
                left = frozenset(invitation_channels(customer.channel)) - go_on[keys[row]]
                told[group[0], _TOGETHER[left], *group[2:]] += bool(left)
            email = customer.person.email and folded_email(without_tag(customer.person.email))
            self._note_addresses(row, email, customer.person.phone, customer.entity_id, customer.customer_id)
        count_accepted(self.judged, groups)
        count_accepted(self.due, due)
        count_accepted(self.due, told, asks=False)

    def _add_plain(self, lines: PlainRows, groups: Counter[Any], due: Counter[Any]) -> None:
        """Nothing is stored of their customers, so a session is asked for each."""
        for line, number in lines.alike():
            group = group_of(line, self.parts.hours)
            groups[group] += number
            due[group] += number
        rows = lines.rows
        self.due.accepted += len(rows)
        self.first = self.first or lines.first
        self._written_to.extend(bytes(rows.start - len(self._written_to)) + bytes([1]) * len(rows))
        for row, email in zip(rows, lines.values["email"], strict=True):
            self._note_addresses(row, without_tag(email) if "+" in email else email)  # folded, as all plain ones are

    def beyond_cap(self) -> list[str]:
        """The messages that `messages_per_address` delays, in words; after `finish`."""
        cap = self.parts.settings.invitations.messages_per_address
        if cap is None:
            return []
        messages = (more + bool(self._written_to[row] & bit) for (bit, row), more in self._more.items())
        waiting, longest = beyond(cap, messages)
        if not waiting:
            return []
        wait = counted(waiting, "message waits", "messages wait")
        until = written(self.parts.clock() + longest)
        shown = f"{cap.messages} / {show_duration(cap.period)}"
        return [f"{wait} for messages_per_address ({shown}), the last until {until} or later"]


def costs_in_words(facts: Mapping[str, Any], *, now: str = "now") -> list[str]:
    """A line for each of the costs of `foreseen`, and one for what has no price. `now`: what is said of the first."""
    when = {"now": now, "at_most": "at most"}
    lines = [f"cost {when[one]}: {amounts_in_words(amounts)}" for one, amounts in facts.get("cost", {}).items()]
    if missing := facts.get("without_price"):
        lines.append(f"  without a price, and so not in it: {', '.join(missing)}")
    return lines


def end_in_words(ends: Mapping[str, Any], *, sent: str, without_end: str, step: str = "") -> list[str]:
    """When the rows are out, or why no end is known, after these words; and what waits apart from that."""
    apart = [f"apart from that: {words}" for words in ends.get("apart", ())]
    if ends["finishes_at"]:
        roughly = "roughly " if ends["assumed"] else ""
        return [f"{sent} by {roughly}{ends['finishes_at']} ({ends['limited_by']})", *apart]
    return [f"{without_end}: {ends['limited_by']}{step}", *apart] if ends["limited_by"] else apart


def segments_of(parts: Parts, due: Judged) -> tuple[int, int]:
    """The segments of the texts that leave now; and those of the longest text that a row may get."""
    if parts.settings.texting(Channel.SMS) is None:
        return 0, 1
    now, each, most = 0, 1, 1
    for number, (words, texts) in enumerate(due.wordings.items()):
        each = _each(parts, *words) if number < MOST_WORDINGS else each
        now, most = now + texts * each, max(most, each)
    return now, most


def _each(parts: Parts, template: str, locale: str, brand: str) -> int:
    try:
        customer = example(parts.templates, locale=locale, template=template, brand=brand)
        made = rendered(parts.settings, parts.templates, customer, Channel.SMS, Wording.INVITATION, link=LINK)
    except CannotStart:
        return 1  # the template's own problem is named elsewhere
    return made.segments


def beyond(cap: AddressCap, messages: Iterable[int]) -> tuple[int, timedelta]:
    """Of so many messages to each address, all due now: how many wait for a place, and for how long the last one. An
    address that had messages before has fewer places, so both are the least."""
    waiting, longest = 0, timedelta(0)
    for number in messages:
        waiting += max(0, number - cap.messages)
        longest = max(longest, (number - 1) // cap.messages * cap.period)
    return waiting, longest
