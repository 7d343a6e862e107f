"""The month's configuration with all five endpoints, and the customers' list."""

import csv
import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from tests.trials.month.model import ENDPOINTS, Behaviour, Customer, Rules
from worker.foundation.keyring import new_key
from worker.sandbox.options import SandboxOptions
from worker.settings import Settings, load

WEBHOOK_KEY = "month-webhook-key"  # iDenfy's
WEBHOOK_SECRET = "month-secret-of-the-address"  # noqa: S105 -- invented; FrankieOne v1's
MAIL_KEY = "month-mail-key-of-32-characters-x"
PLAYED = SandboxOptions()  # the endpoints check its credentials
# The public address of `onboard web`, which Twilio signs.
BASE_URL = "https://onboard.example.com"

_TEXT = """
[database]
url = {database}
[encryption]
keys = [{{ env = "KEY" }}]
[email]
url = "smtp://127.0.0.1:1"
from = "Example Bank <verify@example.com>"
limits = ["200/second"]
callback_keys = [{{ env = "MAIL_KEY" }}]
[sms]
account = {sms_account}
token = {{ env = "SMS_TOKEN" }}
from = "+15005550006"
limits = ["200/second"]
callback_key = {{ env = "SMS_TOKEN" }}
[links]
base_url = "{base_url}"
{links}
[invitations]
reminders = {reminders}
messages_per_customer = {messages}
# The model of a month does not know addresses.
messages_per_address = "off"
{quiet}
{fallback}
# One in nine messages bounces here, which would make a batch pause itself.
pause_over = 100
[reissue]
most = {reissues}
spacing = "{spacing} s"
[[routes]]
accounts = {accounts}
"""
_STABLE = """mode = "stable"
issue = "{issue}"
valid = "{valid} s"
"""
_ACCOUNT = """
[accounts.{name}]
provider = "{provider}"
base_url = "https://{name}.example.com"
api_key = {{ env = "API_KEY" }}
limits = ["200/second"]
on_unknown = "hold"  # no answer is lost here, and the model asks no provider what became of a session
{more}
"""
_IDENFY = """api_secret = { env = "API_SECRET" }
webhook_keys = [{ env = "WEBHOOK_KEY" }]"""
_FRANKIE = """customer_id = { env = "CUSTOMER_ID" }
link = "https://verify.example.com/start#token={token}"
"""
_BY_SECRET, _BY_TOKEN = 'webhook_secret = { env = "WEBHOOK_SECRET" }', 'jwt_key = { env = "JWT_KEY" }'


def configured(
    folder: Path,
    database: str,
    rules: Rules,
    *,
    fallback: bool,
    jwt_key: str,
    lifetimes: dict[str, timedelta],
    stable: str = "",
) -> Settings:
    """The configuration, read by the product's own code. `jwt_key`: FrankieOne v2's public key, PEM. `stable`: when
    sessions of our own links are bought; "": messages have the providers' links."""
    hours = rules.quiet and f"{rules.quiet[0]:02}:00-{rules.quiet[1]:02}:00"
    text = _TEXT.format(
        database=json.dumps(database),
        sms_account=json.dumps(PLAYED.twilio_account),
        base_url=BASE_URL,
        links=_STABLE.format(issue=stable, valid=int(rules.valid.total_seconds())) if stable else "",
        reminders=json.dumps([f"{int(span.total_seconds())} s" for span in rules.reminders]),
        messages=rules.messages,
        quiet=f'quiet_hours = {{ email = "{hours}", sms = "{hours}" }}' if hours else "",
        fallback='fallback = "sms"' if fallback else "",
        reissues=rules.reissues,
        spacing=int(rules.spacing.total_seconds()),
        accounts=json.dumps([endpoint.name for endpoint in ENDPOINTS]),
    )
    for name, lifetime in lifetimes.items():
        text += _ACCOUNT.format(name=name, provider=name.removesuffix("-openapi"), more=_more(name, lifetime))
    path = folder / "onboarding.toml"
    path.write_text(text)
    return load(
        path,
        environ={
            "KEY": new_key(),
            "API_KEY": PLAYED.idenfy_key,  # FrankieOne's key is the same
            "API_SECRET": PLAYED.idenfy_secret,
            "CUSTOMER_ID": PLAYED.frankieone_customer,
            "WEBHOOK_KEY": WEBHOOK_KEY,
            "WEBHOOK_SECRET": WEBHOOK_SECRET,
            "JWT_KEY": jwt_key,
            "MAIL_KEY": MAIL_KEY,
            "SMS_TOKEN": PLAYED.twilio_token,
        },
    )


def _more(name: str, lifetime: timedelta) -> str:
    if name.startswith("idenfy"):
        dialect = '\ndialect = "openapi"' if name.endswith("openapi") else ""
        return f'{_IDENFY}\nlifetime = "{int(lifetime.total_seconds())} s"{dialect}'
    return _FRANKIE + (_BY_SECRET if name == "frankieone-v1" else _BY_TOKEN)


# Every id and address of a customer contains its number.


def id_of(number: int) -> str:
    return f"c{number:06}"


def entity_of(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def email_of(number: int) -> str:
    return f"{id_of(number)}@example.org"


def phone_of(number: int) -> str:
    """Lithuanian mobiles."""
    return f"+3706{number:07}"


def number_of(contact: str) -> int:
    """The number of the customer with this id, entity, address or phone."""
    return int("".join(filter(str.isdigit, contact.partition("@")[0]))[-6:])


def channel_of(customer: Customer) -> str:
    """The first channel: SMS for a third of the customers with a phone; email for those who bounce."""
    texted = customer.phone and customer.number % 3 == 0 and customer.behaviour is not Behaviour.BOUNCES
    return "sms" if texted else "email"


def write_list(path: Path, customers: Sequence[Customer]) -> None:
    columns = ["customer_id", "kind", "email", "phone", "timezone", "channel", "account", "entity_id", "locale"]
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(columns)
        for customer in customers:
            name, number = customer.endpoint.name, customer.number
            rows.writerow(
                [
                    id_of(number),
                    "company" if name == "idenfy-kyb" else "individual",
                    email_of(number),
                    phone_of(number) if customer.phone else "",
                    customer.timezone,
                    channel_of(customer),
                    name,
                    entity_of(number) if name == "frankieone-v2" else "",
                    "en",
                ]
            )
