import pytest

from onboarding_testing.accounts import PlainSecret
from onboarding_worker.providers.account import AccountUnusable
from onboarding_worker.providers.contract import build_provider, shared_webhook_keys
from tests.providers.endpoints import HOSTED, KYB, KYC, OPENAPI, V1, V2

FRANKIE = "frankieone-v2"


class Settings:
    """An account with only its credentials and the keys of its webhooks. Each secret is one letter."""

    def __init__(self, provider, *, api_key="", base_url="", webhook_keys="", webhook_secret="", jwt_key=""):
        self.provider, self.base_url, self.customer_id = provider, base_url, None
        # Without a given key, each account has its own.
        self.api_key = PlainSecret(api_key or str(id(self)))
        self.webhook_keys, self.webhook_secret, self.jwt_key = (
            tuple(map(PlainSecret, keys)) for keys in (webhook_keys, webhook_secret, jwt_key)
        )


def test_each_provider_has_its_adapter():
    for adapter in (KYC, OPENAPI, KYB, V1, V2, HOSTED):
        assert type(build_provider(adapter.account())) is adapter.of


def test_a_dialect_means_nothing_where_there_is_but_one():
    assert type(build_provider(V2.account(dialect="openapi"))) is V2.of


def test_an_unknown_provider_is_named_with_the_supported_ones():
    with pytest.raises(AccountUnusable) as caught:
        build_provider(KYC.account(provider="idenfy"))

    assert str(caught.value) == (
        "accounts.kyc-eu.provider: idenfy is not supported; supported are "
        "idenfy-kyc, idenfy-kyb, frankieone-v1, frankieone-v2, frankieone-hosted"
    )


def accounts_with(*given: dict) -> dict[str, Settings]:
    return {f"a{number}": Settings(**{"provider": "idenfy-kyb", **one}) for number, one in enumerate(given)}


SHARED = {
    "a key": ([{"webhook_keys": "k"}, {"webhook_keys": "lk"}], ["a1.webhook_keys"]),
    "a key, of three": ([{"webhook_keys": "k"}] * 3, ["a1.webhook_keys", "a2.webhook_keys"]),
    "keys of their own": ([{"webhook_keys": "k"}, {"webhook_keys": "l"}], []),
    "no keys": ([{}, {}], []),
    "the same at the provider": ([{"webhook_keys": "k", "api_key": "same"}] * 2, []),
    "another host": (
        [{"webhook_keys": "k", "api_key": "same", "base_url": host} for host in "ab"],
        ["a1.webhook_keys"],
    ),
    "other bodies": ([{"webhook_keys": "k"}, {"webhook_keys": "k", "provider": "idenfy-kyc"}], []),
    "a secret": ([{"provider": FRANKIE, "webhook_secret": "s"}] * 2, ["a1.webhook_secret"]),
    "one provider's token": ([{"provider": FRANKIE, "jwt_key": "j"}] * 2, ["a1.jwt_key"]),
    "the token, and secrets of their own": (
        [{"provider": FRANKIE, "jwt_key": "j", "webhook_secret": secret} for secret in "st"],
        [],
    ),
    "the token, and a secret of one of them": (
        [{"provider": FRANKIE, "jwt_key": "j", "webhook_secret": "s"}, {"provider": FRANKIE, "jwt_key": "j"}],
        ["a1.jwt_key"],
    ),
}


def test_accounts_that_share_a_webhook_key_are_warned_of(subtests):
    for what, (given, warned) in SHARED.items():
        with subtests.test(case=what):
            lines = shared_webhook_keys(accounts_with(*given))
            assert [line.removeprefix("accounts.").partition(":")[0] for line in lines] == warned
            assert all("accounts.a0 has the same" in line for line in lines)
