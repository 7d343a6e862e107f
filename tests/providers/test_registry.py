import pytest

from worker.providers.account import AccountUnusable
from worker.providers.frankieone_v2 import FrankieOneV2
from worker.providers.idenfy_kyc import IdenfyKyc
from worker.providers.registry import build_provider

from .accounts import frankie_account, idenfy_account


def test_each_provider_has_its_adapter():
    assert isinstance(build_provider(idenfy_account()), IdenfyKyc)
    assert isinstance(build_provider(frankie_account()), FrankieOneV2)


def test_a_dialect_means_nothing_where_there_is_but_one():
    assert isinstance(build_provider(frankie_account(dialect="openapi")), FrankieOneV2)


@pytest.mark.parametrize(
    ("account", "named"),
    [
        (idenfy_account(dialect="openapi"), "idenfy-kyc (openapi)"),
        (idenfy_account(provider="idenfy-kyb"), "idenfy-kyb"),
        (frankie_account(provider="frankieone-v1"), "frankieone-v1"),
    ],
)
def test_what_is_not_supported_yet_is_said_with_what_is(account, named):
    with pytest.raises(AccountUnusable, match="not supported yet") as caught:
        build_provider(account)

    assert str(caught.value).startswith(f"accounts.{account.name}.provider: {named} is not")
    assert "idenfy-kyc (narrative), frankieone-v2" in str(caught.value)
