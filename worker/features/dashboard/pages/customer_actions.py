"""The same link again, a new link, another address: what the service desk does for one customer."""

from collections.abc import Callable
from typing import TypeVar

from worker.core.model.channels import ADDRESSES, CALLED
from worker.features.dashboard.contract import Action, Asked, Done, Field, Plan, Refused, Sources
from worker.features.dashboard.pages.customer import customer_of, page_of
from worker.features.dashboard.users import Role
from worker.features.service_desk.case import Refused as NotDone
from worker.features.service_desk.case import in_utc
from worker.features.service_desk.new_link import NewLink
from worker.features.service_desk.opened import desk_of, finder_of
from worker.features.service_desk.store.cases import SeveralPurposes
from worker.features.service_desk.store.desk import Asked as Renewed
from worker.lists import phone_numbers, rules
from worker.reporting.prices import Prices

T = TypeVar("T")
GIVEN_AWAY = "The link has gone to an address that was corrected since, and opens there, too."


def _answer(call: Callable[[], T | NotDone]) -> T:
    """What was done. Raises Refused with the reason and what to do instead."""
    try:
        answer = call()
    except SeveralPurposes as error:
        raise Refused(f"The customer is onboarded for several purposes ({error}): use the command.") from None
    if isinstance(answer, NotDone):
        raise Refused(f"{answer.why[:1].upper()}{answer.why[1:]}.{f' Then: {answer.then}.' if answer.then else ''}")
    return answer


def _back(asked: Asked) -> str:
    return page_of(asked.text("customer", most=100))


def _channel(asked: Asked) -> str | None:
    given = asked.text("channel")
    return given if given in CALLED else None


def _plan_resend(sources: Sources, asked: Asked) -> Plan:
    who, desk = customer_of(sources, asked).customer_id, desk_of(sources.parts)
    plan = _answer(lambda: desk.may_resend(who, channel=_channel(asked), same_link=True, now=asked.now))
    when = "at once" if plan.due_at <= asked.now else f"at {in_utc(plan.due_at)}, after quiet hours"
    price = Prices.of(sources.parts.settings).total({}, {plan.channel: 1})
    amounts = "".join(f" ({amount} {currency})" for currency, amount in price.items())
    return Plan(
        title=f"Send {who} the same link again?",
        button="Send the link again",
        does=(
            f"One {CALLED[plan.channel]} with the link that works until {in_utc(plan.expires_at)}.",
            f"It leaves {when}.",
            *((GIVEN_AWAY,) if plan.given_away else ()),
        ),
        cost=(f"1 {CALLED[plan.channel]}{amounts}; no session.",),
    )


def _resend(sources: Sources, asked: Asked, reason: str) -> Done:
    who = customer_of(sources, asked).customer_id
    desk = desk_of(sources.parts, sources.acting(asked.person, "customer resend", reason).database)
    # The page that asked has said so, if an address that was corrected has it.
    sent = _answer(lambda: desk.resend(who, channel=_channel(asked), same_link=True, now=asked.now))
    return Done(f"The link leaves by {CALLED[sent.channel]} to {sent.to}.", sent.due)


def _plan_new_link(sources: Sources, asked: Asked) -> Plan:
    who, desk = customer_of(sources, asked).customer_id, desk_of(sources.parts)
    plan = _answer(lambda: desk.may_renew(who, now=asked.now))
    prices = Prices.of(sources.parts.settings).total({plan.account: 1}, dict.fromkeys(plan.channels, 1))
    amounts = "".join(f" ({amount} {currency})" for currency, amount in prices.items())
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
    desk = desk_of(sources.parts, sources.acting(asked.person, "customer new-link", reason).database)
    done = _answer(lambda: desk.new_link(who, now=asked.now))
    return Done(f"{done.link.account} is asked for another session; its link follows.", done.due)


FIELDS = (
    Field("email", "New email address", "email"),
    Field("phone", "New phone number, as +37060000000", "tel"),
)


def _plan_address(sources: Sources, asked: Asked) -> Plan:
    found = customer_of(sources, asked)
    if found.erased:
        raise Refused("The customer was erased; nothing is stored to correct.")
    has = " and ".join(filter(None, (found.email, found.phone))) or "no address"
    desk = desk_of(sources.parts)
    foreseen = _answer(lambda: desk.may_correct(found.customer_id, ADDRESSES, now=asked.now))
    follows, until = foreseen.follows, foreseen.opens_until
    gone = f"At the old address the present link opens until {in_utc(until)}. " if until is not None else ""
    if isinstance(follows, NewLink):
        then = f"{gone}{follows.account} is asked for session {follows.number} of at most {follows.most}."
        cost = f"At most 1 credit at {follows.account} and {len(follows.channels)} message(s)."
    elif isinstance(follows, NotDone) and until is not None:
        then, cost = f"{follows.why[:1].upper()}{follows.why[1:]}.", "Nothing now."
    else:
        then, cost = f"{gone}The present link, if it works, goes to the new address.", "At most 1 message; no session."
    return Plan(
        title=f"Correct an address of {found.customer_id}?",
        button="Correct the address",
        does=(
            f"The customer has {has}. Fill in what changes.",
            f"{then} Nothing more goes to the old address.",
        ),
        cost=(cost,),
        fields=FIELDS,
    )


def _address(sources: Sources, asked: Asked, reason: str) -> Done:
    who = customer_of(sources, asked).customer_id
    email, phone = asked.text("email", most=320), asked.text("phone", most=40)
    if not email and not phone:
        raise Refused("Fill in the new email address or phone number.")
    read = rules.email(email) if email else None
    number = phone_numbers.phone(phone, finder_of(sources.parts).country_of(who)) if phone else None
    for wrong in (read, number):
        if wrong is not None and not isinstance(wrong, str):
            raise Refused(f"The address is not good: {wrong.problem}; {wrong.hint}.")
    desk = desk_of(sources.parts, sources.acting(asked.person, "customer address", reason).database)
    done = _answer(
        lambda: desk.correct_address(
            who,
            email=read if isinstance(read, str) else None,
            phone=number if isinstance(number, str) else None,
            now=asked.now,
        )
    )
    warning = f" {done.warning[:1].upper()}{done.warning[1:]}." if done.warning else ""
    said = f"{' and '.join(done.columns).capitalize()} changed.{warning}"
    if isinstance(done.sent, NotDone):
        return Done(f"{said} No message was added: {done.sent}.", done.due)
    if isinstance(done.sent, Renewed):
        return Done(f"{said} {done.sent.link.account} is asked for another session; its link follows.", done.due)
    return Done(f"{said} The link leaves by {CALLED[done.sent.channel]} to {done.sent.to}.", done.due)


ACTIONS = tuple(
    Action(name=name, command=f"customer {name}", least=Role.SERVICE_DESK, plan=plan, carry_out=carry_out, back=_back)
    for name, plan, carry_out in (
        ("resend", _plan_resend, _resend),
        ("new-link", _plan_new_link, _new_link),
        ("address", _plan_address, _address),
    )
)
