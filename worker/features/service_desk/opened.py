"""Builds the desk over a process's parts, and makes the words of messages that have left again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.core.adapters import Message
from worker.core.database.database import Database
from worker.core.messages.contact import Invitation
from worker.core.model.channels import address_of
from worker.core.model.sessions import Opening
from worker.features.service_desk.case import DeskRules
from worker.features.service_desk.store.desk import ServiceDesk
from worker.features.service_desk.store.finding import Finder
from worker.features.service_desk.store.sent_messages import SentMessage
from worker.providers.values import masked_opening
from worker.settings.policies import listing_accounts, orphan_rules, stable_links
from worker.wiring.container import Parts
from worker.wiring.stores import Stores

if TYPE_CHECKING:
    from worker.templates.render import Templates


@dataclass(frozen=True, repr=False)
class MessageText:
    """Personal, so no repr. `text` None: `problem` says why it cannot be made. `to`: the customer's present address."""

    sent: SentMessage
    to: str
    text: Message | None
    problem: str = ""


def _message_text(parts: Parts, templates: "Templates", sent: SentMessage) -> MessageText:
    """The words as they were when the message left, if neither the template nor the customer's details have changed."""
    from worker.templates.language import TemplateProblem  # imported here: Jinja, for words alone
    from worker.wiring.templates import sender_name

    customer, person = sent.customer, sent.customer.person
    to = address_of(person, sent.channel)
    opening = sent.opening or masked_opening(Opening(""))
    clock = parts.hours.clock_of(timezone=customer.timezone, phone=person.phone, country=customer.country)
    name = sender_name(parts.settings, sent.channel, customer.brand)
    invitation = Invitation(
        customer, opening, sent.expires_at, sender_name=name, wording=sent.wording, clock=clock, advice=sent.advice
    )
    try:
        made = templates.render(invitation, channel=sent.channel, now=sent.sent_at)
    except TemplateProblem as problem:
        return MessageText(sent, to, None, str(problem))
    return MessageText(sent, to, made)


def desk_of(parts: Parts, database: Database | None = None) -> ServiceDesk:
    """What is done for one customer. `database`: whose changes the audit log ascribes to another person."""
    rules = DeskRules(
        contact=parts.contact,
        channels=tuple(parts.channels),
        allowed_from={name: provider.reissue_at for name, provider in parts.providers.items()},
        lists=listing_accounts(parts.settings, parts.providers),
        link_valid=stable.valid if (stable := stable_links(parts.settings)) is not None else None,
        orphans=orphan_rules(parts.providers),
    )
    return ServiceDesk(database or parts.database, parts.keyring, rules)


def finder_of(stores: Stores) -> Finder:
    return Finder(stores.database, stores.keyring)


def message_texts(parts: Parts, sent: Sequence[SentMessage]) -> list[MessageText]:
    """The words of messages that have left, made again. The templates are read anew: they may have changed."""
    from worker.wiring.templates import templates_of

    templates = templates_of(parts.settings)
    return [_message_text(parts, templates, one) for one in sent]
