"""Builds the desk over a process's parts."""

from collections.abc import Sequence
from functools import partial

from worker.core.database.database import Database
from worker.core.lifecycle.given_links import CorrectedRule
from worker.features.service_desk.case import DeskRules
from worker.features.service_desk.message_texts import MessageText, message_text
from worker.features.service_desk.store.cases import DeskPolicy
from worker.features.service_desk.store.desk import ServiceDesk
from worker.features.service_desk.store.finding import Finder
from worker.features.service_desk.store.sent_messages import SentMessage
from worker.settings.policies import caps_of, hours_of, listing_accounts, orphan_rules, stable_links, texted_countries
from worker.wiring.adapters import sender_name, templates_of
from worker.wiring.container import Parts
from worker.wiring.stores import Stores


def desk_of(parts: Parts, database: Database | None = None) -> ServiceDesk:
    """What is done for one customer. `database`: whose changes the audit log ascribes to another person."""
    return ServiceDesk(database or parts.database, parts.keyring, _policy(parts))


def finder_of(stores: Stores) -> Finder:
    return Finder(stores.database, stores.keyring)


def message_texts(parts: Parts, sent: Sequence[SentMessage]) -> list[MessageText]:
    """The words of messages that have left, made again. The templates are read anew: they may have changed."""
    templates = templates_of(parts.settings)
    return [message_text(templates, parts.hours, partial(sender_name, parts.settings), one) for one in sent]


def _policy(parts: Parts) -> DeskPolicy:
    """What the desk may do."""
    return DeskPolicy(
        DeskRules(
            caps=caps_of(parts.settings),
            channels=tuple(parts.channels),
            quiet=hours_of(parts.settings).quiet,
            per_day=parts.settings.follow_up.per_day,
            allowed_from={name: provider.reissue_at for name, provider in parts.providers.items()},
            lists=listing_accounts(parts.settings, parts.providers),
            link_valid=stable.valid if (stable := stable_links(parts.settings)) is not None else None,
            corrected=CorrectedRule(parts.settings.follow_up.corrected_address),
        ),
        hours_of(parts.settings),
        texted_countries(parts.settings),
        orphan_rules(parts.providers),
    )
