"""The configuration of a history, read by the product's own code, and the people as its lists and events name them."""

import json
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from onboarding_sandbox.options import SandboxOptions
from onboarding_worker.core.foundation.clock import Clock
from onboarding_worker.core.foundation.keyring import new_key
from onboarding_worker.core.model.customers import Channel, Customer, CustomerKind
from onboarding_worker.core.model.customers import Person as Details
from onboarding_worker.senders.contract import TextTools
from onboarding_worker.senders.twilio import TwilioSender
from onboarding_worker.settings.load import load
from onboarding_worker.settings.model import Settings
from onboarding_worker.templates.brand import Brand
from onboarding_worker.templates.render import Templates
from trials.simulation.plan import (
    BEFORE_MONTH,
    CREDITS,
    FLOOR,
    LEASE,
    LIFETIME,
    LINK_VALID,
    MESSAGES,
    PER_ADDRESS,
    PER_ADDRESS_SECONDS,
    TIMEOUT,
    Person,
    Plan,
)

PLAYED = SandboxOptions()  # the endpoints check its credentials
WEBHOOK_KEY = "simulated-webhook-key"
KEY = new_key()
# The accounts of a person's route, in order. Each is reached at a host of its own, named after it.
ROUTES: Mapping[str, tuple[str, ...]] = {"kyc": ("kyc",), "kyb": ("kyb",), "au": ("au",), "both": ("kyc", "lt")}
COUNTRIES = {"kyc": "LT", "kyb": "LT", "au": "AU", "both": "LV"}
PROVIDERS = {"kyc": "idenfy-kyc", "lt": "idenfy-kyc", "kyb": "idenfy-kyb", "au": "frankieone-v2"}

_TEXT = """
[database]
url = {url}
[encryption]
keys = [{{ env = "KEY" }}]
[worker]
lease = "{lease:g} s"
[retry]
most = "30 s"
{accounts}
{routes}
[email]
url = "smtp://127.0.0.1:1"
from = "Example Bank <verify@example.com>"
connections = 4
timeout = "{timeout:g} s"
limits = {limits}
[sms]
account = {sms_account}
token = {{ env = "SMS_TOKEN" }}
from = "+15005550006"
timeout = "{timeout:g} s"
limits = {sms_limits}
[invitations]
messages_per_customer = {messages}
pause_over = 100
{invitations}
[follow_up]
most = {reissues}
reminders = {reminders}
spacing = "60 s"
{ahead}
{links}
{follows}
"""
_TRIES_AGAIN = """
[retry_after_denial]
reasons = ["DOC_NOT_FULLY_VISIBLE"]
"""
_RENEWS = """
[renew]
every = "1 month"
before = "{days} days"
"""
_LINKS = """
[web]
base_url = "https://onboard.example.com"
[links]
mode = "stable"
issue = "{issue}"
[retention]
personal = "{valid:g} s"
"""
_ROUTE = """
[[routes]]
when = {{ {when} }}
accounts = {accounts}
freshness = "{floor:g} s"
"""
_ROUTES = (
    ('kind = "company"', ROUTES["kyb"]),
    ('country = ["AU"]', ROUTES["au"]),
    ('country = ["LV"]', ROUTES["both"]),
    ('country = ["LT"]', ROUTES["kyc"]),
)
_ACCOUNT = """
[accounts.{name}]
provider = "{provider}"
base_url = "https://{name}.example.com"
api_key = {{ env = "API_KEY" }}
limits = {limits}
burst = "1 day"
concurrency = {concurrency}
timeout = "{timeout:g} s"
{more}
"""


def settings_of(folder: Path, url: str, plan: Plan) -> Settings:
    used = {name for person in plan.people for name in ROUTES[person.account]}
    invitations = f'quiet_hours = {{ email = "{plan.quiet}", sms = "{plan.quiet}" }}' if plan.quiet else ""
    if plan.shared:
        invitations += f'\nmessages_per_address = "{PER_ADDRESS} / {PER_ADDRESS_SECONDS:g} s"'
    if plan.renews_for:  # a renewal every three days is more than an address gets by default
        invitations += '\nmessages_per_address = "1000 / 1 day"'
    names: tuple[str, ...] = ("rate", "hourly", "capped", "daily", "stable", "concurrency", "reissues", "reminders")
    names += ("ahead", "tries_again", "renews_for")
    read = {name: getattr(plan, name) for name in names}
    return _settings(folder, url, tuple(sorted(used)), Plan(seed=0, people=(), hosts=0, **read), invitations)


@cache
def _settings(folder: Path, url: str, names: tuple[str, ...], plan: Plan, invitations: str) -> Settings:
    """`plan` has nothing but what is read here, so that histories share their settings."""
    by_second = [f"{plan.rate}/second"] if plan.rate else []
    accounts = "".join(
        _ACCOUNT.format(
            name=name,
            provider=PROVIDERS[name],
            limits=json.dumps(by_second + ([f"{plan.hourly}/hour"] if plan.hourly else [])),
            concurrency=plan.concurrency,
            timeout=TIMEOUT,
            more=_more(name, plan),
        )
        for name in names
    )
    routes = "".join(
        _ROUTE.format(when=when, accounts=json.dumps(of), floor=FLOOR) for when, of in _ROUTES if set(of) <= set(names)
    )
    path = folder / "onboarding.toml"
    path.write_text(
        _TEXT.format(
            url=json.dumps(url),
            lease=LEASE,
            accounts=accounts,
            routes=routes,
            timeout=TIMEOUT,
            limits=json.dumps(by_second),
            sms_limits=json.dumps([f"{plan.rate or 20}/second"]),
            sms_account=json.dumps(PLAYED.twilio_account),
            messages=MESSAGES,
            invitations=invitations,
            reissues=plan.reissues,
            reminders=json.dumps([f"{after:g} s" for after in plan.reminders]),
            links=_LINKS.format(issue=plan.stable, valid=LINK_VALID) if plan.stable else "",
            ahead=f'ahead = "{plan.ahead:g} s"' if plan.ahead else "",
            follows=_TRIES_AGAIN * plan.tries_again + _RENEWS.format(days=BEFORE_MONTH) * bool(plan.renews_for),
        )
    )
    return load(
        path,
        environ={
            "KEY": KEY,
            "API_KEY": PLAYED.idenfy_key,  # FrankieOne's key is the same
            "API_SECRET": PLAYED.idenfy_secret,
            "CUSTOMER_ID": PLAYED.frankieone_customer,
            "WEBHOOK_KEY": WEBHOOK_KEY,
            "SMS_TOKEN": PLAYED.twilio_token,
        },
    )


@cache
def templates() -> Templates:
    """Made once: most of a short history's time would go into compiling them."""
    return Templates(None, locale="en", brand=Brand())


def _more(name: str, plan: Plan) -> str:
    if name == "au":
        return 'customer_id = { env = "CUSTOMER_ID" }\nlink = "https://verify.example.com/start#token={token}"'
    most = f'"{CREDITS} / day"' if plan.daily else str(CREDITS)
    credits = f"\ncredits = {most}" if plan.capped and name == "kyc" else ""
    return (
        f'api_secret = {{ env = "API_SECRET" }}\nwebhook_keys = [{{ env = "WEBHOOK_KEY" }}]'
        f'\nlifetime = "{LIFETIME:g} s"{credits}'
    )


def texting(http: Any, clock: Clock) -> TwilioSender:
    """The product's own sender of texts, over simulated connections."""
    section = SimpleNamespace(
        base_url="https://twilio.example.com",
        account=PLAYED.twilio_account,
        key=None,
        token=_Token(),
        from_="+15005550006",
        timeout=timedelta(seconds=TIMEOUT),
    )
    return TwilioSender(section, TextTools(http, clock))


class _Token:
    def reveal(self) -> str:
        return PLAYED.twilio_token

    def reload(self) -> bool:
        return False


def entity_of(person: Person) -> str:
    return f"00000000-0000-4000-8000-{person.number:012}"


def customer_of(person: Person) -> Customer:
    company = person.account == "kyb"
    details = Details(
        email=person.email if person.channel != "sms" else "",
        phone=person.phone if person.channel != "email" else "",
        company_name="Paper Harbour UAB" if company else "",
    )
    return Customer(
        person.id,
        kind=CustomerKind.COMPANY if company else CustomerKind.INDIVIDUAL,
        person=details,
        country=COUNTRIES[person.account],
        locale="en",
        channel=Channel(person.channel),
        entity_id=entity_of(person) if person.account == "au" else "",
    )


def row_of(person: Person) -> dict[str, Any]:
    """The person as an event has it."""
    customer = customer_of(person)
    row = {
        "customer_id": person.id,
        "kind": customer.kind.value,
        "country": customer.country,
        "channel": person.channel,
        "email": customer.person.email,
        "phone": customer.person.phone,
        "company_name": customer.person.company_name,
        "entity_id": customer.entity_id,
    }
    return {name: value for name, value in row.items() if value}


def names_of(plan: Plan) -> dict[str, str]:
    """The customer behind each name that a request may have."""
    return {
        name: person.id for person in plan.people for name in (person.id, person.email, person.phone, entity_of(person))
    }
