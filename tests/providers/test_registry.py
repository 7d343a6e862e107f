import pytest

from worker.providers.account import AccountUnusable
from worker.providers.frankieone_v1 import FrankieOneV1
from worker.providers.frankieone_v2 import FrankieOneV2
from worker.providers.idenfy_kyb import IdenfyKyb
from worker.providers.idenfy_kyc import IdenfyKyc
from worker.providers.registry import build_provider

from .accounts import frankie_account, frankie_v1_account, idenfy_account, kyb_account, openapi_account


def test_each_provider_has_its_adapter():
    assert isinstance(build_provider(idenfy_account()), IdenfyKyc)
    assert isinstance(build_provider(openapi_account()), IdenfyKyc)
    assert isinstance(build_provider(kyb_account()), IdenfyKyb)
    assert isinstance(build_provider(frankie_v1_account()), FrankieOneV1)
    assert isinstance(build_provider(frankie_account()), FrankieOneV2)


def test_a_dialect_means_nothing_where_there_is_but_one():
    assert isinstance(build_provider(frankie_account(dialect="openapi")), FrankieOneV2)


def test_a_provider_that_there_is_not_is_said_with_those_there_are():
    with pytest.raises(AccountUnusable) as caught:
        build_provider(idenfy_account(provider="idenfy"))

    assert str(caught.value) == (
        "accounts.kyc-eu.provider: idenfy is not supported; supported are "
        "idenfy-kyc, idenfy-kyb, frankieone-v1, frankieone-v2"
    )
