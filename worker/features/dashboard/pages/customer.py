"""Customers: find one, and see what has happened to one. Contact details only for the service desk, and audited. And
what the service desk does for one: the link again, a new link, another address."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

from onboarding_worker.core.model.channels import CALLED, CHANNELS
from onboarding_worker.features.dashboard.contract import (
    Action,
    Asked,
    Done,
    Elsewhere,
    Field,
    NotThere,
    Page,
    Plan,
    Refused,
    Sources,
)
from onboarding_worker.features.dashboard.users import Role
from onboarding_worker.features.service_desk.case import Refused as NotDone
from onboarding_worker.features.service_desk.case import Wanted, in_utc, wanted
from onboarding_worker.features.service_desk.corrections import Correction
from onboarding_worker.features.service_desk.links import NewLink
from onboarding_worker.features.service_desk.opened import desk_of, finder_of, with_words
from onboarding_worker.features.service_desk.store.cases import SeveralPurposes
from onboarding_worker.features.service_desk.store.desk import ServiceDesk
from onboarding_worker.features.service_desk.store.finding import MOST, Found
from onboarding_worker.features.service_desk.store.sent_messages import MOST as MOST_MESSAGES
from onboarding_worker.features.service_desk.store.sent_messages import sent_messages
from onboarding_worker.features.service_desk.timeline import About, Moment, timeline
from onboarding_worker.lists import phone_numbers, rules
from onboarding_worker.providers.values import Refusal
from onboarding_worker.reporting.prices import Prices

PATH = "/dashboard/customers"
ONE = f"{PATH}/{{customer}}"
NO_CUSTOMER = "There is no customer with this id."


def page_of(customer_id: str) -> str:
    return f"{PATH}/{quote(customer_id, safe='')}"


def find(sources: Sources, asked: Asked) -> Mapping[str, Any]:
    """One hit leads to the customer's page. The audit log says who has looked: seven searches show who is a customer,
    though each address is masked. So a link searches nothing."""
    text = asked.text("q", most=320) if asked.posted else ""
    if text:
        finder_of(sources.acting(asked, "customer find", "")).searched(text, now=asked.now)
    found = finder_of(sources.parts).find(wanted(text, asked.text("country", most=2).upper())) if text else []
    if len(found) == 1:
        raise Elsewhere(page_of(found[0].customer_id))
    return {"text": text, "found": [(one, page_of(one.customer_id)) for one in found], "more": len(found) == MOST}


def customer_of(sources: Sources, asked: Asked) -> Found:
    """The customer that a request names, by id alone. Raises NotThere."""
    customer_id = asked.text("customer", most=100)
    for one in finder_of(sources.parts).find(Wanted(customer_id, "", ())) if customer_id else ():
        if one.customer_id == customer_id:
            return one
    raise NotThere(NO_CUSTOMER)


def read(sources: Sources, asked: Asked) -> Mapping[str, Any]:
    found = customer_of(sources, asked)
    history = finder_of(sources.parts).history(found.customer_id)
    if history is None:
        raise NotThere(NO_CUSTOMER)
    moments = timeline(history, sources.reporting.circumstances(), now=asked.now)
    past = [one for one in moments if one.at <= asked.now]
    return {
        "customer": found,
        "path": page_of(found.customer_id),
        "moments": _to_the_second([one for one in past if one.about is not About.BATCH]),
        "of_batches": _to_the_second([one for one in past if one.about is About.BATCH]),
        "ahead": [one for one in moments if one.at > asked.now],
        "contact": None,
        "ways": _ways(found, sources.parts.channels),
    }


def _to_the_second(moments: Sequence[Moment]) -> list[tuple[Moment, bool]]:
    """The moments, each with whether its seconds count: another one is of the same minute."""
    minutes = Counter(one.at.replace(second=0, microsecond=0) for one in moments)
    return [(one, minutes[one.at.replace(second=0, microsecond=0)] > 1) for one in moments]


def _ways(found: Found, channels: Collection[str]) -> list[tuple[str, str]]:
    """The channels that have a sender and an address of the customer, each with what its messages are called; none
    where there is one way alone: then it is the row's own."""
    addresses = {"email": found.email, "phone": found.phone}
    ways = [(name, facts.called) for name, facts in CHANNELS.items() if name in channels and addresses[facts.address]]
    return ways if len(ways) > 1 else []


SHOW = "customer show"  # the audit log says who has seen personal data


def read_with_contact(sources: Sources, asked: Asked) -> Mapping[str, Any]:
    """As `read`, with the addresses in clear."""
    finder = finder_of(sources.acting(asked, SHOW, ""))
    shown = read(sources, asked)
    return {**shown, "contact": finder.contact(shown["customer"].customer_id, now=asked.now)}


def read_messages(sources: Sources, asked: Asked) -> Mapping[str, Any]:
    """The messages that have left, their links masked."""
    stores, found = sources.acting(asked, SHOW, ""), customer_of(sources, asked)
    sent = sent_messages(stores.database, stores.keyring, found.customer_id, now=asked.now)
    return {
        "customer": found,
        "path": page_of(found.customer_id),
        "messages": with_words(sources.parts, sent),
        "called": CALLED,
        "more": len(sent) == MOST_MESSAGES,
    }


_for_the_desk = partial(Page, least=Role.SERVICE_DESK, shared=False)
PAGES = (
    _for_the_desk(
        path=PATH, template="customers.html", read=find, title="Customers", navigation="Customers", posted=True
    ),
    Page(path=ONE, template="customer.html", read=read, title="Customer"),
    _for_the_desk(path=f"{ONE}/contact", template="customer.html", read=read_with_contact, title="Customer"),
    _for_the_desk(path=f"{ONE}/messages", template="messages.html", read=read_messages, title="Messages"),
)
T = TypeVar("T")
GIVEN_AWAY = "The link has gone to an address that was corrected since, and opens there, too."


def _answer(call: Callable[[], T | NotDone]) -> T:
    """What was done. Raises Refused with the reason and what to do instead."""
    try:
        answer = call()
    except SeveralPurposes as error:
        raise Refused(f"The customer is onboarded for several purposes ({error}): use the command.") from None
    if isinstance(answer, NotDone):
        raise Refused(f"{_begun(answer.why)}{f' Then: {answer.then}.' if answer.then else ''}")
    return answer


def _begun(words: str) -> str:
    """The words as a sentence."""
    return f"{words[:1].upper()}{words[1:]}."


def _desk(sources: Sources, asked: Asked, action: str, reason: str) -> ServiceDesk:
    """What the person does there has the person's name in the audit log."""
    return desk_of(sources.parts, sources.acting(asked, action, reason).database)


def _back(asked: Asked) -> str:
    return page_of(asked.text("customer", most=100))


def _channel(asked: Asked) -> str | None:
    given = asked.text("channel")
    return given if given in CALLED else None


def _amounts(sources: Sources, sessions: Mapping[str, int], channels: Collection[str]) -> str:
    prices = Prices.of(sources.parts.settings).total(sessions, dict.fromkeys(channels, 1))
    return "".join(f" ({amount} {currency})" for currency, amount in prices.items())


def _plan_resend(sources: Sources, asked: Asked) -> Plan:
    who, desk = customer_of(sources, asked).customer_id, desk_of(sources.parts)
    plan = _answer(lambda: desk.may_resend(who, channel=_channel(asked), now=asked.now))
    when = "at once" if plan.due_at <= asked.now else f"at {in_utc(plan.due_at)}, after quiet hours"
    return Plan(
        title=f"Send {who} the present link?",
        button="Send the link again",
        does=(
            f"One {CALLED[plan.channel]} with the link that works until {in_utc(plan.expires_at)}.",
            f"It leaves {when}.",
            *((GIVEN_AWAY,) if plan.given_away else ()),
        ),
        cost=(f"1 {CALLED[plan.channel]}{_amounts(sources, {}, [plan.channel])}; no session.",),
    )


def _resend(sources: Sources, asked: Asked, reason: str) -> Done:
    who = customer_of(sources, asked).customer_id
    desk = _desk(sources, asked, "customer resend", reason)
    # The page that asked has said so, if an address that was corrected has it.
    sent = _answer(lambda: desk.resend(who, channel=_channel(asked), same_link=True, now=asked.now))
    return Done(f"The link leaves by {CALLED[sent.channel]} to {sent.to}.", sent.due)


def _plan_new_link(sources: Sources, asked: Asked) -> Plan:
    who, desk = customer_of(sources, asked).customer_id, desk_of(sources.parts)
    plan = _answer(lambda: desk.may_renew(who, now=asked.now))
    amounts = _amounts(sources, {plan.account: 1}, plan.channels)
    return Plan(
        title=f"Open another session for {who}?",
        button="Open another session",
        does=(
            f"{plan.account} is asked for session {plan.number} of at most {plan.most}; its link follows.",
            *filter(None, [plan.before_in_words]),
        ),
        cost=(f"1 credit at {plan.account} and {len(plan.channels)} message(s){amounts}.",),
        grave=True,
    )


def _new_link(sources: Sources, asked: Asked, reason: str) -> Done:
    who = customer_of(sources, asked).customer_id
    desk = _desk(sources, asked, "customer new-link", reason)
    done = _answer(lambda: desk.new_link(who, now=asked.now))
    return Done(f"{done.account} is asked for another session; its link follows.", done.due)


FIELDS = (Field("email", "New email address", "email"), Field("phone", "New phone number, as +37060000000", "tel"))


def _plan_address(sources: Sources, asked: Asked) -> Plan:
    found = customer_of(sources, asked)
    if found.erased:
        raise Refused("The customer was erased; nothing is stored to correct.")
    has = " and ".join(filter(None, (found.email, found.phone))) or "no address"
    desk = desk_of(sources.parts)
    foreseen = _answer(lambda: desk.may_correct(found.customer_id, None, now=asked.now))
    follows, until = foreseen.follows, foreseen.opens_until
    gone = f"At the old address the present link opens until {in_utc(until)}. " if until is not None else ""
    if isinstance(follows, NewLink):
        then = f"{gone}{follows.account} is asked for session {follows.number} of at most {follows.most}."
        cost = f"At most 1 credit at {follows.account} and {len(follows.channels)} message(s)."
    elif isinstance(follows, NotDone) and until is not None:
        then, cost = _begun(follows.why), "Nothing now."
    else:
        then, cost = f"{gone}The present link, if it works, goes to the new address.", "At most 1 message; no session."
    return Plan(
        title=f"Correct an address of {found.customer_id}?",
        button="Correct the address",
        does=(f"The customer has {has}. Fill in what changes.", f"{then} Nothing more goes to the old address."),
        cost=(cost,),
        fields=FIELDS,
    )


def _address(sources: Sources, asked: Asked, reason: str) -> Done:
    who = customer_of(sources, asked).customer_id
    email, phone = asked.text("email", most=320), asked.text("phone", most=40)
    if not email and not phone:
        raise Refused("Fill in the new email address or phone number.")
    read: dict[str, str | Refusal] = {"email": rules.email(email)} if email else {}
    if phone:
        read["phone"] = phone_numbers.phone(phone, finder_of(sources.parts).country_of(who))
    for one in read.values():
        if isinstance(one, Refusal):
            raise Refused(f"The address is not good: {one.problem}; {one.hint}.")
    desk = _desk(sources, asked, "customer address", reason)
    done = _answer(lambda: desk.correct(who, Correction(read), by_hand=True, now=asked.now))
    warning = f" {_begun(done.warning)}" if done.warning else ""
    said = f"{' and '.join(done.columns).capitalize()} changed.{warning}"
    if isinstance(done.follows, NotDone):
        return Done(f"{said} No message was added: {done.follows}.", done.due)
    if isinstance(done.follows, NewLink):
        return Done(f"{said} {done.follows.account} is asked for another session; its link follows.", done.due)
    return Done(f"{said} The link leaves by {CALLED[done.follows.channel]} to {done.follows.to}.", done.due)


ACTIONS = tuple(
    Action(name=name, command=f"customer {name}", least=Role.SERVICE_DESK, plan=plan, carry_out=carry_out, back=_back)
    for name, plan, carry_out in (
        ("resend", _plan_resend, _resend),
        ("new-link", _plan_new_link, _new_link),
        ("address", _plan_address, _address),
    )
)
