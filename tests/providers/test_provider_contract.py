"""The contract of every adapter (onboarding_testing/provider_contract.py), over every endpoint and the shipped fake."""

from onboarding_testing.provider_contract import *  # noqa: F403 -- the suite
from onboarding_worker.providers import (
    frankieone,
    frankieone_hosted,
    frankieone_v1,
    frankieone_v2,
    idenfy,
    idenfy_kyb,
    idenfy_kyc,
)
from onboarding_worker.providers.facts import PROVIDERS
from tests.providers.endpoints import CASES


def test_every_built_in_provider_has_its_case():
    assert {case.provider for case in CASES.values()} - {""} == set(PROVIDERS.built_in)


def test_every_identifier_that_idenfy_documents_has_its_own_answer_in_the_table(subtests):
    for identifier in [*idenfy.IDENTIFIERS]:
        with subtests.test(identifier=identifier):
            codes = {bad.code for bad in CASES["idenfy-kyc"].bad.values()}
            bodies = b"".join(bad.answer.body for bad in CASES["idenfy-kyc"].bad.values())

            assert identifier in codes or f'"{identifier}"'.encode() in bodies


def test_adapters_keep_the_network_out():
    cases = [idenfy, idenfy_kyc, idenfy_kyb, frankieone, frankieone_v1, frankieone_v2, frankieone_hosted]
    assert [module for module in cases if {"aiohttp", "asyncio"} & set(vars(module))] == []
