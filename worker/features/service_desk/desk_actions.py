"""What the service desk does for a customer: `onboard customer resend`, `new-link`, `address`."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import click

from onboarding_worker.cli.exits import CannotStart, NotDone
from onboarding_worker.cli.invocation import Said, saying
from onboarding_worker.cli.opening import wake_ups_of
from onboarding_worker.cli.shared_options import REASON, YES, confirm
from onboarding_worker.core.foundation.notation import written
from onboarding_worker.core.model.channels import CALLED, CHANNELS
from onboarding_worker.features.service_desk.case import Refused, in_utc
from onboarding_worker.features.service_desk.corrections import Correction
from onboarding_worker.features.service_desk.links import NewLink
from onboarding_worker.features.service_desk.opened import desk_of, finder_of
from onboarding_worker.features.service_desk.store.cases import SeveralPurposes
from onboarding_worker.features.service_desk.store.desk import Corrected, Sent
from onboarding_worker.lists import phone_numbers, rules
from onboarding_worker.providers.values import Refusal
from onboarding_worker.reporting.prices import Prices
from onboarding_worker.settings.needs import ENCRYPTING, WAKING
from onboarding_worker.wiring.container import Parts

T = TypeVar("T")
WORKERS = "running workers send it; without workers: `onboard up`"
PURPOSE = click.option("--purpose", help="Of a customer who is onboarded for several purposes.")


@click.command()
@click.argument("customer_id", metavar="ID")
@click.option("--channel", type=click.Choice([*CHANNELS]), help="[default: the row's channel, email first]")
@click.option("--same-link", is_flag=True, help="Also a link that an address has that was corrected since.")
@PURPOSE
@REASON
@saying(ENCRYPTING | WAKING)
def resend(
    parts: Parts, customer_id: str, channel: str | None, same_link: bool, purpose: str | None, reason: str
) -> Said:
    """Send the customer's present link once more.

    It opens no session and costs no credit. The message counts against the caps, waits for quiet hours, and leaves also
    while its batch is paused, but never while everything is stopped. The command refuses, with the reason and what to
    do instead, where there is no link that works, and within 10 minutes of the last message. A stable link works after
    its session has ended, too.

    \b
    onboard customer resend C-1001
    onboard customer resend C-1001 --channel sms --reason "call 4711"
    """
    resent = partial(desk_of(parts).resend, channel=channel, same_link=same_link, now=parts.clock())
    sent = _asking(lambda: resent(customer_id, purpose=purpose, reason=reason))
    if isinstance(sent, Refused):
        return _refused(customer_id, sent)
    wake_ups_of(parts.settings).send(list(sent.due))
    when = "now" if sent.due_at <= parts.clock() else f"at {in_utc(sent.due_at)}, after the quiet hours"
    until = in_utc(sent.expires_at)
    words = f"the link leaves by {CALLED[sent.channel]} to {sent.to} {when}; it works until {until}"
    return Said(_facts(customer_id) | _sent(sent), [words, WORKERS])


@click.command("new-link")
@click.argument("customer_id", metavar="ID")
@PURPOSE
@REASON
@YES
@saying(ENCRYPTING | WAKING)
def new_link(parts: Parts, customer_id: str, purpose: str | None, reason: str, yes: bool) -> Said:
    """Open another session for the customer, and send its link: this costs a credit.

    It says the cost and asks first. The present link opens until its end. Where the provider would give the same again,
    or allows no second session while one is open, the command refuses: `onboard customer resend` sends the present one.

    \b
    onboard customer new-link C-1001 --reason "link opened on a shared computer"
    """
    desk = desk_of(parts)
    planned = _asking(lambda: desk.may_renew(customer_id, purpose=purpose, now=parts.clock()))
    if isinstance(planned, NewLink) and not yes:
        confirm(f"{cost_in_words(parts, planned)} Open it?")
    if isinstance(planned, NewLink):
        planned = desk.new_link(customer_id, purpose=purpose, reason=reason, now=parts.clock())
    if isinstance(planned, Refused):
        return _refused(customer_id, planned)
    wake_ups_of(parts.settings).send(list(planned.due))
    words = f"{planned.account} is asked for session {planned.number} of at most {planned.most}; its link follows"
    return Said(_facts(customer_id) | _asked_for(planned), [words, WORKERS])


@click.command()
@click.argument("customer_id", metavar="ID")
@click.option("--email", help="The email address from now on.")
@click.option("--phone", help="The phone number from now on, as +37060000000 or as the customer's country writes it.")
@PURPOSE
@REASON
@YES
@saying(ENCRYPTING | WAKING)
def address(
    parts: Parts, customer_id: str, email: str | None, phone: str | None, purpose: str | None, reason: str, yes: bool
) -> Said:
    """Correct the customer's email address or phone number.

    The address is checked as in a list. What has not left goes to the new address, nothing more to the old one. A link
    that has gone to the old address opens until its end. Where the provider opens another session early, one is asked
    for, which costs a credit: the command asks first. Else the new address gets one after that end, or the same link
    at once ([follow_up] corrected_address). The audit log has who changed it and not the address.

    \b
    onboard customer address C-1001 --email ona.k@example.com
    """
    if email is None and phone is None:
        raise click.UsageError("give --email or --phone")
    new = dict[str, str]()
    if email is not None:
        new["email"] = _accepted("--email", rules.email(email.strip()))
    if phone is not None:
        country = finder_of(parts).country_of(customer_id)
        new["phone"] = _accepted("--phone", phone_numbers.phone(phone.strip(), country))
    desk, of = desk_of(parts), (customer_id, Correction(new))
    foreseen = _asking(lambda: desk.may_correct(*of, purpose=purpose, by_hand=True, now=parts.clock()))
    if isinstance(foreseen, Corrected) and isinstance(foreseen.follows, NewLink) and not yes:
        confirm(f"the old address has a link that opens: {cost_in_words(parts, foreseen.follows)} Go on?")
    changed = desk.correct(*of, purpose=purpose, reason=reason, by_hand=True, now=parts.clock())
    if isinstance(changed, Refused):
        return _refused(customer_id, changed)
    wake_ups_of(parts.settings).send(list(changed.due))
    if changed.warning:
        click.echo(f"warning: {changed.warning}", err=True)
    follows: dict[str, Any]
    match changed.follows:
        case Sent() as sent:
            follows, said = _sent(sent), f"the link leaves by {CALLED[sent.channel]} to {sent.to}"
        case NewLink() as link:
            which = f"session {link.number} of at most {link.most}"
            follows, said = _asked_for(link), f"{link.account} is asked for {which}"
        case refused:
            refused = refused.of(customer_id)
            follows, said = {"not_sent": refused.why, "then": refused.then}, f"no message was added: {refused}"
    lines, until = [f"{' and '.join(changed.columns)} changed; {said}"], changed.opens_until
    if until is not None:
        follows |= {"old_link_opens_until": written(until)}
    if not isinstance(changed.follows, Refused):
        lines += [f"at the old address a link opens until {in_utc(until)}"] if until is not None else []
        lines.append(WORKERS)
    return Said(_facts(customer_id) | {"changed": changed.columns} | follows, lines)


def cost_in_words(parts: Parts, planned: NewLink) -> str:
    """What another session costs, and what becomes of the present one."""
    messages = dict.fromkeys(planned.channels, 1)
    prices = Prices.of(parts.settings).total({planned.account: 1}, messages)
    price = f" ({', '.join(f'{amount} {currency}' for currency, amount in prices.items())})" if prices else ""
    mails = " and ".join(f"1 {CALLED[channel]}" for channel in planned.channels)
    costs = f"this costs 1 credit at {planned.account}{f' and {mails}' if mails else ''}{price}."
    which = f"It is session {planned.number} of at most {planned.most}."
    return " ".join(filter(None, [costs, which, planned.before_in_words]))


def _asking(call: Callable[[], T]) -> T:
    try:
        return call()
    except SeveralPurposes as error:
        several = f"the customer is onboarded for several purposes ({error})"
        raise CannotStart(f"{several}; name one with --purpose") from None


def _refused(customer_id: str, refused: Refused) -> Said:
    refused = refused.of(customer_id)
    facts = _facts(customer_id, done=False) | {"refused": refused.why, "then": refused.then}
    return Said(facts, [], NotDone(str(refused)))


def _facts(customer_id: str, *, done: bool = True) -> dict[str, Any]:
    return {"customer": customer_id, "done": done}


def _accepted(option: str, read: str | Refusal) -> str:
    if isinstance(read, str):
        return read
    raise CannotStart(f"{option}: {read.problem}; {read.hint}")


def _asked_for(link: NewLink) -> dict[str, Any]:
    return {"account": link.account, "session": link.number, "most": link.most}


def _sent(sent: Sent) -> dict[str, Any]:
    due_at, expires_at = written(sent.due_at), written(sent.expires_at)
    return {"channel": sent.channel, "to": sent.to, "due_at": due_at, "expires_at": expires_at}
