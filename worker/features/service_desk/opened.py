"""Builds the desk over a process's parts, and makes the words of messages that have left again."""

from collections.abc import Sequence
from dataclasses import replace

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.model.sessions import Opening
from onboarding_worker.core.rules.contact import Invitation
from onboarding_worker.features.service_desk.case import DeskRules
from onboarding_worker.features.service_desk.store.desk import ServiceDesk
from onboarding_worker.features.service_desk.store.finding import Finder
from onboarding_worker.features.service_desk.store.sent_messages import SentMessage
from onboarding_worker.providers.values import masked_opening
from onboarding_worker.settings.policies import listing_accounts, orphan_rules, stable_links
from onboarding_worker.wiring.container import Parts
from onboarding_worker.wiring.stores import Stores


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


def with_words(parts: Parts, sent: Sequence[SentMessage]) -> list[SentMessage]:
    """The messages with their words as these were when they left, if neither the template nor the customer's details
    have changed since. The templates are read anew: they may have changed."""
    from onboarding_worker.templates.language import TemplateProblem  # imported here: Jinja, for words alone
    from onboarding_worker.wiring.templates import sender_name, templates_of

    templates, made = templates_of(parts.settings), []
    for one in sent:
        customer, person = one.customer, one.customer.person
        opening = one.opening or masked_opening(Opening(""))
        clock = parts.hours.clock_of(timezone=customer.timezone, phone=person.phone, country=customer.country)
        name = sender_name(parts.settings, one.channel, customer.brand)
        invitation = Invitation(
            customer, opening, one.expires_at, sender_name=name, wording=one.wording, clock=clock, advice=one.advice
        )
        try:
            made.append(replace(one, text=templates.render(invitation, channel=one.channel, now=one.sent_at)))
        except TemplateProblem as problem:
            made.append(replace(one, problem=str(problem)))
    return made
