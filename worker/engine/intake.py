"""What a row of a list, or an event, is judged by: the routes, and what the accounts and channels can serve."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from worker.domain.contact.contact_times import Hours
from worker.domain.model.customers import Customer, FieldProblem, invitation_channels
from worker.domain.routing import Rule
from worker.foundation.clock import Clock
from worker.providers.contract import Provider


@dataclass(frozen=True, kw_only=True)
class Intake:
    """How this configuration judges customers. Safe for threads."""

    clock: Clock
    columns: Mapping[str, str]  # the list's own column names, by the configuration
    routes: Sequence[Rule]  # in their order
    providers: Mapping[str, Provider]  # by account
    channels: Collection[str]  # those that have a sender
    templates: Callable[[], Collection[str]]  # their names; a call, because it reads files the first time
    hours: Hours  # when customers may be written to

    def lifetime(self, account: str) -> timedelta | None:
        """How long a link of the account lives; None where the provider does not say so."""
        return self.providers[account].lifetime

    def able(self, account: str, customer: Customer) -> list[FieldProblem]:
        """Why the account cannot serve the customer; empty when it can."""
        return self.providers[account].refuses(customer)

    def unsendable(self, customer: Customer) -> list[FieldProblem]:
        """Why the customer's invitation could not be written or sent; empty when it could."""
        problems = [
            FieldProblem("channel", f"no sender is configured for {channel}", f"add [{channel}] to the configuration")
            for channel in invitation_channels(customer.channel)
            if channel not in self.channels
        ]
        if customer.template and customer.template not in self.templates():
            known = ", ".join(sorted(self.templates()))
            problems.append(FieldProblem("template", "there is no template of that name", f"use one of {known}"))
        return problems
