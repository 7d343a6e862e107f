"""The configurations that `onboard init` writes."""

from string import Template

from worker.core.features import hint

# Invented. Only the sandbox accepts them.
SANDBOX_SECRETS = {
    "idenfy_key": "sandbox-key",
    "idenfy_webhook_key": "sandbox-webhook-key",
    "frankieone_webhook_secret": "sandbox-webhook-secret",
    "idenfy_secret": "sandbox-secret",
    "frankieone_key": "sandbox-key",
    "frankieone_customer": "11111111-1111-4111-8111-111111111111",
    "twilio_token": "sandbox-token",
}

COMMON = (
    """
# [invitations]
# quiet_hours = { sms = "21:00-08:00", email = "22:00-07:00" }   # in the recipient's own time zone
# locale = "en"                          # for rows that name no language
# templates = "templates/"               # your own texts instead of the built-in ones

# [web.senders.signup]                   # a system that posts events to `onboard web`: docs/reference/http.md
# keys = [{ env = "EVENTS_KEY" }]        # 32 characters or more"""
    + hint("keys", "; `onboard keys new --for events` prints one")
    + """
# links = true                           # it may wait for the links of its customers
"""
)

STARTER = (
    """# The configuration of `onboard`. docs/reference/configuration.md has every key.
# `onboard check LIST` shows what a list would do.
# Do not write secrets in this file; write { env = "NAME" } or { file = "PATH" }.

[database]
url = "sqlite:///onboarding.db"          # one process; for several: { env = "DATABASE_URL" }, postgresql+psycopg://…

[encryption]
keys = [{ file = "onboarding.key" }]     # back it up: without it, tokens and contacts are lost
digest_key = { file = "onboarding-digest.key" }   # for hashes of addresses; back it up too

# [broker]
# url = "amqp://127.0.0.1:5672"          # for workers in other processes; or redis://…

[accounts.kyc]
provider = "idenfy-kyc"                  # idenfy-kyc | idenfy-kyb | frankieone-v1 | frankieone-v2
api_key = { env = "IDENFY_KEY" }
api_secret = { env = "IDENFY_SECRET" }
lifetime = "7 days"                      # how long a link lives
# webhook_keys = [{ env = "IDENFY_WEBHOOK_KEY" }]   # for results: docs/reference/webhooks.md
# limits = ["2/second"]                  # default: iDenfy's documented 10000/hour
# credits = 1000                         # the most paid calls
# prefill = "name"                       # default "none": no personal field is sent to the provider

# [accounts.au]
# provider = "frankieone-v2"
# base_url = "https://api.uat.frankie.one"
# api_key = { env = "FRANKIE_KEY" }
# customer_id = { env = "FRANKIE_CUSTOMER" }
# link = "https://verify.example.com/start#token={token}"   # your page with the provider's SDK
# webhook_secret = { env = "FRANKIE_WEBHOOK_SECRET" }   # or several in a list, during a rotation

# [[routes]]                             # the first route that matches a row is used
# when = { country = ["AU", "NZ"], entity_id = true }
# accounts = ["au"]
[[routes]]                               # every other row
accounts = ["kyc"]

[email]
url = { env = "SMTP_URL" }               # smtp+starttls://USER:PASSWORD@HOST, smtps://… or smtp://127.0.0.1:1025
from = "Example Bank <verify@example.com>"
limits = ["10/second"]

# [sms]
# account = "AC…"                        # the SID of your Twilio account
# token = { env = "TWILIO_TOKEN" }
# from = "+15005550006"                  # or a messaging service (MG…), or a sender's name
# limits = ["1/second"]                  # the default, for each `from`

# [whatsapp]                             # for rows with the channel whatsapp: docs/providers/twilio.md
# from = "+15005550006"                  # your WhatsApp sender, at the account of [sms]
"""
    + COMMON
)

SANDBOX = Template(
    """# For `onboard sandbox`: invented credentials, nothing leaves this machine.
# docs/reference/configuration.md has every key.

[database]
url = "sqlite:///onboarding.db"

[encryption]
keys = [{ file = "onboarding.key" }]
digest_key = { file = "onboarding-digest.key" }

[accounts.kyc]
provider = "idenfy-kyc"
base_url = "http://127.0.0.1:$port/idenfy"
link = "http://127.0.0.1:$port/verify/{token}"   # the sandbox's page, with buttons
api_key = { file = "secrets/idenfy_key" }
api_secret = { file = "secrets/idenfy_secret" }
webhook_keys = [{ file = "secrets/idenfy_webhook_key" }]
limits = ["2000/second"]                 # generous: try less, and `onboard sandbox --limit 50/second`
concurrency = 100

[accounts.kyc-lt]                        # the endpoint's other form; the same key, so one budget with kyc
provider = "idenfy-kyc"
dialect = "openapi"
base_url = "http://127.0.0.1:$port/idenfy"
link = "http://127.0.0.1:$port/verify/{token}"
api_key = { file = "secrets/idenfy_key" }
api_secret = { file = "secrets/idenfy_secret" }
webhook_keys = [{ file = "secrets/idenfy_webhook_key" }]

[accounts.kyb]
provider = "idenfy-kyb"
base_url = "http://127.0.0.1:$port/idenfy"
link = "http://127.0.0.1:$port/verify/{token}"
api_key = { file = "secrets/idenfy_key" }
api_secret = { file = "secrets/idenfy_secret" }
webhook_keys = [{ file = "secrets/idenfy_webhook_key" }]

[accounts.au]
provider = "frankieone-v2"
base_url = "http://127.0.0.1:$port/frankieone"
api_key = { file = "secrets/frankieone_key" }
customer_id = { file = "secrets/frankieone_customer" }
webhook_secret = { file = "secrets/frankieone_webhook_secret" }
link = "http://127.0.0.1:$port/verify/{token}"
limits = ["2000/second"]
concurrency = 100

[accounts.au-new]                        # for customers new to FrankieOne: v1 creates the entity
provider = "frankieone-v1"
base_url = "http://127.0.0.1:$port/frankieone"
api_key = { file = "secrets/frankieone_key" }
customer_id = { file = "secrets/frankieone_customer" }
webhook_secret = { file = "secrets/frankieone_webhook_secret" }
link = "http://127.0.0.1:$port/verify/{token}"

[[routes]]                               # the first route that matches a row is used
when = { kind = "company" }
accounts = ["kyb"]
[[routes]]
when = { country = ["AU", "NZ"], entity_id = true }
accounts = ["au"]
[[routes]]
when = { country = ["AU", "NZ"] }
accounts = ["au-new"]
[[routes]]
when = { country = "LT" }
accounts = ["kyc-lt"]
[[routes]]                               # every other row
accounts = ["kyc"]

[email]
url = "smtp://127.0.0.1:$smtp_port"
from = "Example Bank <verify@example.com>"

[sms]
base_url = "http://127.0.0.1:$port/twilio"
account = "AC00000000000000000000000000000001"
token = { file = "secrets/twilio_token" }
from = "+15005550006"
limits = ["2000/second"]                 # the default is a real number's 1/second
"""
    + COMMON
)


def sandbox_webhooks(web: str = "http://127.0.0.1:8080") -> dict[str, str]:
    """Where the sandbox reports to the accounts of this configuration, by its names of the endpoints. `web`: the
    address of `onboard web`. Accounts with one key are heard under one name: kyc-lt under kyc."""
    secret = SANDBOX_SECRETS["frankieone_webhook_secret"]
    places = {
        "idenfy-kyc": "kyc",
        "idenfy-kyb": "kyb",
        "frankieone-v1": f"au-new/{secret}",
        "frankieone-v2": f"au/{secret}",
    }
    return {endpoint: f"{web}/webhooks/{place}" for endpoint, place in places.items()}


def starter() -> str:
    """A configuration for real providers; the operator sets its environment variables."""
    return STARTER


def sandbox_starter(*, port: int, smtp_port: int) -> str:
    """A configuration that points at the sandbox on this machine."""
    return SANDBOX.substitute(port=port, smtp_port=smtp_port)
