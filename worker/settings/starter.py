"""The configurations that `onboard init` writes: starter.toml and sandbox.toml, in this folder."""

from pathlib import Path
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


def sandbox_webhooks(web: str = "http://127.0.0.1:8080") -> dict[str, str]:
    """Where the sandbox reports to the accounts of this configuration, by its names of the endpoints. `web`: the
    address of `onboard web`. Accounts with one key are heard under one name: kyc-lt under kyc."""
    secret = SANDBOX_SECRETS["frankieone_webhook_secret"]
    places = {"idenfy-kyc": "kyc", "idenfy-kyb": "kyb"}
    places |= {"frankieone-v1": f"au-new/{secret}", "frankieone-v2": f"au/{secret}"}
    return {endpoint: f"{web}/webhooks/{place}" for endpoint, place in places.items()}


def _filled(name: str, **ports: int) -> str:
    text = Template(Path(__file__).with_name(name).read_text(encoding="utf-8"))
    return text.substitute(ports, prints=hint("keys", "; `onboard keys new --for events` prints one"))


def starter() -> str:
    """A configuration for real providers; the operator sets its environment variables."""
    return _filled("starter.toml")


def sandbox_starter(*, port: int, smtp_port: int) -> str:
    """A configuration that points at the sandbox on this machine."""
    return _filled("sandbox.toml", port=port, smtp_port=smtp_port)
