"""What a row of a list, or an event, is judged by: the routes, and what the accounts and channels can serve."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import Protocol

from worker.core.customers.customers import Channel, Customer, FieldProblem, invitation_channels
from worker.core.customers.routing import Rule
from worker.core.foundation.clock import Clock
from worker.core.foundation.durations import show_duration
from worker.core.messages.quiet_hours import Hours
from worker.core.messages.text_numbers import is_landline, why_not_texted
from worker.core.model.placeholders import NAMES
from worker.core.model.sessions import floor_of, never_fresh
from worker.core.model.traces import NO_TRACES, Traces
from worker.lists.options import Values
from worker.lists.rules import LEFT_OUT
from worker.plans.deadlines import Paces
from worker.providers.contract import Provider
from worker.providers.facts import AsksForLifetime, facts_of, lifetime_parameter
from worker.providers.parameters import parameter_warnings

_LANDLINE = FieldProblem("phone", "a landline: no text goes to it", "give a mobile number, or leave the cell empty")


class Account(AsksForLifetime, Protocol):
    """What a customer is judged by of an account. `prefill`: which personal values it sends."""

    @property
    def prefill(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Intake:
    """How this configuration judges customers. Safe for threads.

    `database_clock` is the database's own time: it says in which order things came, over all processes.
    """

    clock: Clock
    database_clock: Clock
    columns: Mapping[str, str]  # the list's own column names, by the configuration
    values: Values  # its words in some columns, and ours
    routes: Sequence[Rule]  # in their order
    accounts: Mapping[str, Account]
    providers: Mapping[str, Provider]  # by account
    channels: Collection[str]  # those that have a sender
    templates: Callable[[], Collection[str]]  # their names; a call, because it reads files the first time
    hours: Hours  # when customers may be written to
    texted: Collection[str] | None = None  # the countries that texts may go to; None: all
    paces: Callable[[], Paces] = Paces  # of accounts and channels now; a call, because it reads the budgets
    prefilled: Collection[str] = ()  # the accounts that send all personal columns to their provider
    traces: Callable[[], Traces] = lambda: NO_TRACES  # a call, because it opens a thread the first time

    def lifetime(self, account: str, customer: Customer) -> timedelta | None:
        """How long the customer's link of the account lives; None where the vendor decides."""
        given = customer.parameters.get(self.accounts[account].provider) if customer.parameters else None
        return self.providers[account].lifetime_with(given) if given else self._lifetimes[account]

    @cached_property
    def _lifetimes(self) -> Mapping[str, timedelta | None]:
        """By account, for customers without parameters of their own."""
        return {account: provider.lifetime_with({}) for account, provider in self.providers.items()}

    def able(self, account: str, customer: Customer, freshness: timedelta | None) -> list[FieldProblem]:
        """Why the account cannot serve the customer with a route of this freshness floor; empty when it can."""
        problems = self.providers[account].refuses(customer)
        # Without parameters the lifetime is the account's own: the start has compared it with each route's floor.
        return problems + self._never_fresh(account, customer, freshness) if customer.parameters else problems

    def _never_fresh(self, account: str, customer: Customer, freshness: timedelta | None) -> list[FieldProblem]:
        """The problem of a row whose own lifetime leaves no time to send its link. An account's own lifetime is
        checked at the start (`settings.rules`)."""
        lifetime = self.lifetime(account, customer)
        if lifetime is None or not never_fresh(freshness, lifetime=lifetime):
            return []
        settings = self.accounts[account]
        name = lifetime_parameter(settings)
        floor = floor_of(freshness, lifetime=lifetime)
        lives, needs = show_duration(lifetime), show_duration(floor)
        problem = f'its link would live "{lives}", and must leave with "{needs}" or more'
        lower = "or lower the route's `freshness`"
        if name in customer.parameters.get(settings.provider, {}):
            hint = f"give more than {floor.total_seconds():g} seconds, {lower}"
            return [FieldProblem(f"{settings.provider}.{name}", problem, hint)]
        return [FieldProblem("account", problem, f"raise the lifetime of accounts.{account}, {lower}")]

    def doubtful(self, account: str, customer: Customer) -> list[FieldProblem]:
        """Warnings about the row's own parameters that the account would send: accepted, and perhaps mistakes."""
        if not customer.parameters:
            return []
        settings = self.accounts[account]
        given = customer.parameters.get(settings.provider, {})
        return parameter_warnings(settings.provider, given, settings.dialect) if given else []

    def uses(self, column: str, accounts: Collection[str]) -> bool:
        """True if a route tests the personal column, or one of the accounts sends it. Of a name that is none: if one
        of the accounts needs it; a route takes it as empty, as it takes a language or a time zone that is none."""
        if column in LEFT_OUT:
            return False
        if column in NAMES:
            return column != "company_name" and any(map(self._needs_name, accounts))
        return any(column in route.when for route in self.routes) or not set(self.prefilled).isdisjoint(accounts)

    def _needs_name(self, account: str) -> bool:
        settings = self.accounts.get(account)
        facts = facts_of(settings.provider) if settings is not None and settings.prefill != "none" else None
        return facts is not None and facts.needs_name

    def without_texts_to_landlines(self, customer: Customer) -> tuple[Customer, tuple[FieldProblem, ...]]:
        """The customer as it is written to, and a warning of a landline. Where the text would be the only message, the
        row is refused: `unsendable` says so."""
        phone, channel = customer.person.phone, customer.channel
        if not phone or channel in (Channel.SMS, Channel.NONE) or Channel.SMS not in self.channels:
            return customer, ()
        if not is_landline(phone):
            return customer, ()
        return (replace(customer, channel=Channel.EMAIL) if channel is Channel.BOTH else customer), (_LANDLINE,)

    def unsendable(self, customer: Customer) -> list[FieldProblem]:
        """Why the customer's invitation could not be written or sent; empty when it could."""
        channels = invitation_channels(customer.channel)
        problems = [
            FieldProblem("channel", f"no sender is configured for {channel}", f"add [{channel}] to the configuration")
            for channel in channels
            if channel not in self.channels
        ]
        if Channel.SMS in channels:
            why = why_not_texted(customer.person.phone, self.texted)
            if why:
                problems.append(
                    FieldProblem("phone", why, "text messages do not go there: give another number or channel")
                )
        if customer.template and customer.template not in self.templates():
            known = ", ".join(sorted(self.templates()))
            problems.append(FieldProblem("template", "there is no template of that name", f"use one of {known}"))
        return problems
