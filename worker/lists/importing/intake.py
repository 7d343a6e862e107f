"""What a row of a list, or an event, is judged by: the routes (`routing`), and what accounts and channels can serve.
Refused is whom no account can serve, or no sender can write to."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import lru_cache

from onboarding_worker.adapters.settings import AccountSettings
from onboarding_worker.core.foundation.clock import Clock
from onboarding_worker.core.foundation.notation import show_duration
from onboarding_worker.core.model.customers import ACCOUNT_COLUMN, Channel, Customer, FieldProblem, invitation_channels
from onboarding_worker.core.model.sessions import floor_of, max_age_of, never_fresh
from onboarding_worker.core.rules.quiet_hours import Hours, issue_at
from onboarding_worker.core.rules.text_numbers import is_landline, why_not_texted
from onboarding_worker.lists.cells import DECIDING, empty_word
from onboarding_worker.lists.importing.routing import DEFAULT_ACCOUNT, Routing, Rule, brand_for, choose_account, routing
from onboarding_worker.lists.lines import AcceptedLine, Chosen, Line, RefusedLine, Returned
from onboarding_worker.lists.options import Values
from onboarding_worker.lists.own_columns import is_own
from onboarding_worker.lists.rules import LEFT_OUT
from onboarding_worker.lists.traces import NO_TRACES, Traces
from onboarding_worker.plans.deadlines import Paces
from onboarding_worker.providers.contract import Provider
from onboarding_worker.providers.facts import facts_of, lifetime_parameter
from onboarding_worker.providers.parameters import parameter_warnings
from onboarding_worker.providers.row_rights import ACCOUNT, LISTS, NOBODY, NOTHING, Right, RowSays, judged, no_account
from onboarding_worker.templates.values import NAMES

_SMS = Channel.SMS.value  # a member of an enumeration takes its time to find
_LANDLINE = FieldProblem("phone", "a landline: no text goes to it", "give a mobile number, or leave the cell empty")


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
    accounts: Mapping[str, AccountSettings]
    providers: Mapping[str, Provider]  # by account
    channels: Collection[str]  # those that have a sender
    templates: Callable[[], Collection[str]]  # their names; a call, because it reads files the first time
    brands: Collection[str]  # their names
    mail_domains: Collection[str]  # of our own addresses
    hours: Hours  # when customers may be written to
    texted: Collection[str] | None = None  # the countries that texts may go to; None: all
    paces: Callable[[], Paces] = Paces  # of accounts and channels now; a call, because it reads the budgets
    prefilled: Collection[str] = ()  # the accounts that send all personal columns to their provider
    # The columns for messages that a message of the customer's needs, and the row has no value of.
    lacking: Callable[[Customer], Sequence[FieldProblem]] = lambda _customer: ()
    traces: Callable[[], Traces] = lambda: NO_TRACES  # a call, because it opens a thread the first time
    rights: Callable[[str], Right] = Right  # by where rows come from
    origin: str = NOBODY  # of the rows that are judged (`row_rights`)
    default_account: str = ""  # of their rows that name none
    # By account, for customers without parameters of their own.
    _lifetimes: Mapping[str, timedelta | None] = field(init=False, repr=False, compare=False)
    routes_have_brands: bool = field(init=False, repr=False, compare=False)
    _routing: Routing = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        lifetimes = {account: provider.lifetime_with({}) for account, provider in self.providers.items()}
        object.__setattr__(self, "_lifetimes", lifetimes)
        object.__setattr__(self, "_routing", routing(tuple(self.routes)))
        object.__setattr__(self, "routes_have_brands", any(rule.brand for rule in self.routes))

    def of(self, origin: str = LISTS, *, account: str = "") -> "Intake":
        """The same for rows that come from there, and are of this account if they name none."""
        return replace(self, origin=origin, default_account=account)

    def choose(self, customer: Customer, *, keeps_back: bool = False) -> Chosen | tuple[FieldProblem, ...]:
        """The account for a row."""
        if not (customer.account or customer.parameters):  # as most rows: nothing needs a right, no lifetime is its own
            found = self._routing.of(customer)
            if found is not None and not any([self.providers[one].refuses(customer) for one in found.rule.accounts]):
                return found.chosen
        return choose_account(
            customer,
            self.routes,
            able=self.able,
            known=self.providers.keys(),
            forbids=lambda account, row: self.says(account, row).problems,
            default=self.default_account,
            keeps_back=keeps_back,
        )

    def asked_alone(self, customer: Customer) -> Sequence[Callable[[Customer], list[FieldProblem]]] | None:
        """What is asked about each of the customers who differ from this one in nothing but `OWN`: if nothing is
        refused, all have one account. None: more is asked."""
        found = None if customer.account or self._routing.tests_own else self._routing.of(customer)
        asked = [] if found is None else [self.providers[one].refuses for one in found.rule.accounts]
        return None if found is None or any([refuses(customer) for refuses in asked]) else asked

    def says(self, account: str, customer: Customer) -> RowSays:
        """What the row sets at this account that needs a right."""
        if not (customer.account or customer.parameters):  # as most rows
            return NOTHING
        named = customer.account not in ("", self.default_account)
        right = self.rights(self.origin)
        if account not in self.accounts:
            return RowSays((ACCOUNT,)) if ACCOUNT in right.columns else no_account(right)
        settings = self.accounts[account]
        return judged(settings, right, customer.parameters.get(settings.provider, {}), names_account=named)

    def lifetime(self, account: str, customer: Customer) -> timedelta | None:
        """How long the customer's link of the account lives; None where the vendor decides."""
        given = customer.parameters.get(self.accounts[account].provider) if customer.parameters else None
        return self.providers[account].lifetime_with(given) if given else self._lifetimes[account]

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
        settings = self.accounts[account]
        given = customer.parameters.get(settings.provider, {})
        return parameter_warnings(settings.provider, given, settings.dialect) if given else []

    def uses(self, problem: FieldProblem, accounts: Collection[str], customer: Customer | None) -> bool:
        """True if a route tests the column, or one of the accounts sends it. Of a name that is none: if one of the
        accounts needs it; a route takes it as empty, as it takes a language or a time zone that is none, and a cell
        that stands for nothing, unless a value there would decide the customer's route."""
        column = problem.column
        if column in LEFT_OUT or is_own(column):
            return False
        if empty_word(problem) and column not in NAMES:
            fitting = (route for route in self.routes if customer and route.fits(customer, but=column) is not None)
            first = next(fitting, None)
            return column in DECIDING and first is not None and column in first.when
        if column in NAMES:
            settings = [self.accounts[account] for account in accounts if account in self.accounts]
            facts = [facts_of(one.provider) for one in settings if one.prefill != "none"]
            return column != "company_name" and any(one is not None and one.needs_name for one in facts)
        return any(column in route.when for route in self.routes) or not set(self.prefilled).isdisjoint(accounts)

    def written_to(self, customer: Customer) -> tuple[Customer, tuple[FieldProblem, ...], tuple[FieldProblem, ...]]:
        """The customer as it is written to, without texts to a landline; a warning of that; and why the invitation
        could not be written or sent. A row whose only message is a text to a landline is refused."""
        phone = customer.person.phone
        landline: tuple[FieldProblem, ...] = ()
        may_skip = phone and customer.channel not in (Channel.SMS, Channel.NONE) and Channel.SMS in self.channels
        if may_skip and is_landline(phone):
            landline = (_LANDLINE,)
            if customer.channel is Channel.BOTH:
                customer = replace(customer, channel=Channel.EMAIL)
        channels = invitation_channels(customer.channel)
        problems = []
        for channel in channels:
            if channel not in self.channels:
                hint = f"add [{channel}] to the configuration"
                problems.append(FieldProblem("channel", f"no sender is configured for {channel}", hint))
        if _SMS in channels:
            why = why_not_texted(customer.person.phone, self.texted)
            if why:
                problems.append(
                    FieldProblem("phone", why, "text messages do not go there: give another number or channel")
                )
        if customer.template and customer.template not in self.templates():
            known = ", ".join(sorted(self.templates()))
            problems.append(
                FieldProblem("template", "there is no template of that name", f"use one of {known}", unread=True)
            )
        if customer.brand and customer.brand not in self.brands:
            known = f"use one of {', '.join(sorted(self.brands))}, or " if self.brands else ""
            hint = f"{known}add [brand.NAME] to the configuration"
            problems.append(FieldProblem("brand", "there is no brand of that name", hint, unread=True))
        return customer, landline, tuple(problems)


A_REPORT = FieldProblem("", "a row of a report", "give the report to `onboard run` or `onboard import`")
# No message contains these columns: only providers receive them, and only from accounts with `prefill = "all"`.
PREFILLED = frozenset({"date_of_birth", "sex", "nationality", "address"})
_NOT_USED = ": nothing here uses this column"
_MAY_USE = ", unless the account that would serve the row uses this column"


def judge(intake: Intake, line: Line) -> AcceptedLine | RefusedLine:
    """Route an accepted line; refuse a line that no account or sender of this configuration can serve."""
    problems: tuple[FieldProblem, ...] = ()
    accounts: Sequence[str] = ()
    if isinstance(line, Returned):
        return RefusedLine(line.row, "", (A_REPORT,))
    if isinstance(line, RefusedLine):
        if line.duplicate_of is not None:
            return line
        accounts, further = _further(intake, line)
        problems, warnings = _by_use(intake, line, accounts)
        return RefusedLine(line.row, line.customer_id, (*line.problems, *problems, *further), warnings=warnings)
    customer = line.customer
    if intake.routes_have_brands and (brand := brand_for(customer, intake.routes)):  # the one that writes to it
        customer = replace(customer, brand=brand)
    customer, landline, unsendable = intake.written_to(customer)
    chosen = intake.choose(customer)
    warnings = landline
    if line.if_used:
        if isinstance(chosen, Chosen):
            accounts = (chosen.account, *chosen.fallback_accounts)
        problems, unused = _by_use(intake, line, accounts)
        warnings += unused
    if not isinstance(chosen, Chosen):
        problems += chosen
    problems += unsendable
    lacks = tuple(intake.lacking(customer))
    if line.above:
        # Whether a row above is stored by now depends on the chunk, and on its release: so its value does not count.
        problems += tuple(one for one in lacks if one.column in line.above)
    if problems or not isinstance(chosen, Chosen):
        return RefusedLine(line.row, customer.customer_id, problems, warnings=warnings)
    if customer.parameters:
        warnings += tuple(intake.doubtful(chosen.account, customer))
    quiet_until = None
    if intake.hours.quiet and intake.hours.concern(channels := invitation_channels(customer.channel)):
        lifetime = intake.lifetime(chosen.account, customer)
        floor = floor_of(chosen.freshness, lifetime=lifetime)
        zones, now = intake.hours.zones(customer, channels), intake.clock()
        at = issue_at(channels, zones, intake.hours.quiet, max_age=max_age_of(lifetime, floor=floor), now=now)
        quiet_until = at if at > now else None  # before then its message could not leave
    line.customer, line.quiet_until, line.warnings, line.lacks = customer, quiet_until, warnings, lacks
    return served_by(intake, line, chosen)


def made_of_another(intake: Intake, customer: Customer, origin: str, *, route: str) -> AcceptedLine | None:
    """The line, with a row number to be given, of a row that a row of ours makes, such as a renewal; None: no account
    serves it. `customer` has all that the row was (`new_rows.as_it_was`), so the same route fits; the `route` of a row
    that named its account, or whose list did, is that account. It is judged by the right of who brought that row
    (`origin`): what it may not say keeps it back before its call, with the reason, and is never left out."""
    if route not in (DEFAULT_ACCOUNT, ACCOUNT_COLUMN):
        customer = replace(customer, account="")
    intake = intake.of(origin, account=customer.account if route == DEFAULT_ACCOUNT else "")
    chosen = intake.choose(customer, keeps_back=True)
    return served_by(intake, AcceptedLine(0, customer), chosen) if isinstance(chosen, Chosen) else None


def served_by(intake: Intake, line: AcceptedLine, chosen: Chosen) -> AcceptedLine:
    """The line of a customer for whom this account was chosen."""
    line.sets = intake.says(chosen.account, line.customer).sets
    line.origin = intake.origin if line.sets or line.customer.parameters else ""
    lifetime = intake.lifetime(chosen.account, line.customer)
    line.account, line.route, line.fallback_accounts = chosen.account, chosen.reason, chosen.fallback_accounts
    line.floor_seconds, line.freshness_seconds = _seconds(chosen.freshness, lifetime)
    return line


@lru_cache  # of the few that a configuration has, for each row of a list
def _seconds(freshness: timedelta | None, lifetime: timedelta | None) -> tuple[int, int | None]:
    floor = int(floor_of(freshness, lifetime=lifetime).total_seconds())
    return floor, None if freshness is None else int(freshness.total_seconds())


def _further(intake: Intake, line: RefusedLine) -> tuple[Sequence[str], Sequence[FieldProblem]]:
    """The accounts that would serve a refused line, as far as that is known; and what this configuration refuses in its
    good cells: one look at a row shows all of it."""
    if line.rest is None:
        return (), ()
    wrong = {problem.column for problem in (*line.problems, *line.if_used)}
    if not line.rest.person.phone:
        wrong.add("phone")
    rest, _, unsendable = intake.written_to(line.rest)
    found = [*unsendable, *intake.lacking(rest)]
    accounts: Sequence[str] = ()
    # Where a wrong column may decide the route, only the account that the line names is asked.
    is_routed = rest.account or all(rule.when.keys().isdisjoint(wrong) for rule in intake.routes)
    if is_routed and "account" not in wrong:
        chosen = intake.choose(rest)
        if isinstance(chosen, Chosen):
            accounts = (chosen.account, *chosen.fallback_accounts)
        else:
            found[:0] = chosen
    return accounts, [problem for problem in found if problem.column not in wrong]


def _by_use(
    intake: Intake, line: AcceptedLine | RefusedLine, accounts: Collection[str]
) -> tuple[tuple[FieldProblem, ...], tuple[FieldProblem, ...]]:
    """The problems of columns that one of these accounts uses, and warnings for those that none of them uses, or that
    are no names. Without accounts it is not known which one serves the row: a problem is then what all of them use."""
    used, unused = [], []
    customer = line.customer if isinstance(line, AcceptedLine) else line.rest
    for problem in line.if_used:
        all_of = [accounts] if accounts else [[one] for one in intake.providers]
        if all(intake.uses(problem, some, customer) for some in all_of):
            used.append(problem)
        elif empty_word(problem):
            unused.append(problem)
        else:
            may_use = not accounts and intake.uses(problem, intake.providers.keys(), customer)
            why = _MAY_USE if may_use else _NOT_USED if problem.column in PREFILLED else ""
            unused.append(replace(problem, problem=f"{problem.problem}; left out{why}"))
    return tuple(used), tuple(unused)
