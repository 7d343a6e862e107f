"""Accounts of our own providers."""

from datetime import timedelta
from typing import Any

from onboarding_testing.accounts import PlainAccount, PlainSecret

FRANKIE_CUSTOMER = "11111111-1111-4111-8111-111111111111"


def idenfy_account(**settings: Any) -> PlainAccount:
    return PlainAccount(
        **{
            "name": "kyc-eu",
            "provider": "idenfy-kyc",
            "base_url": "https://ivs.idenfy.com",
            "lifetime": timedelta(days=7),
            "link_hosts": ("ivs.idenfy.com", "ui.idenfy.com"),
            **settings,
        }
    )


def frankie_account(**settings: Any) -> PlainAccount:
    return PlainAccount(
        **{
            "name": "au",
            "provider": "frankieone-v2",
            "base_url": "https://api.uat.frankie.one",
            "api_secret": None,
            "customer_id": PlainSecret(FRANKIE_CUSTOMER),
            "link": "https://verify.example.com/start#token={token}",
            "link_hosts": ("verify.example.com",),
            **settings,
        }
    )


def openapi_account(**settings: Any) -> PlainAccount:
    return idenfy_account(**{"name": "kyc-old", "dialect": "openapi", **settings})


def kyb_account(**settings: Any) -> PlainAccount:
    return idenfy_account(
        **{"name": "kyb", "provider": "idenfy-kyb", "link_hosts": ("kyb.ui.idenfy.com", "ivs.idenfy.com"), **settings}
    )


def frankie_v1_account(**settings: Any) -> PlainAccount:
    """An account with prefill none. The configuration's default is all; here a test asks for personal data itself."""
    return frankie_account(**{"name": "au-old", "provider": "frankieone-v1", **settings})


def frankie_hosted_account(**settings: Any) -> PlainAccount:
    """FrankieOne gives the links itself, so the account has none."""
    hosted = {"name": "au-page", "provider": "frankieone-hosted", "dialect": "hostedurl", "link": None}
    return frankie_account(**{**hosted, "link_hosts": ("hosted.frankieone.example",), **settings})
