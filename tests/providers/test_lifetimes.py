"""How long a row's link lives, by the account and by the row's own parameters."""

from datetime import timedelta

from tests.providers.accounts import frankie_account, idenfy_account, kyb_account, openapi_account
from worker.providers.contract import build_provider
from worker.providers.facts import asked_lifetime, lifetime_of

HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
ACCOUNTS = {"kyc": idenfy_account, "openapi": openapi_account, "kyb": kyb_account, "au": frankie_account}


def test_the_rows_own_parameter_counts_before_the_accounts(subtests):
    cases = [
        ("kyc", {}, {}, WEEK),
        ("kyc", {"lifetime": HOUR}, {}, HOUR),
        ("kyc", {"parameters": {"expiryTime": 7200}}, {}, 2 * HOUR),
        ("kyc", {"parameters": {"expiryTime": 7200}}, {"expiryTime": 3600}, HOUR),
        ("kyc", {"unchecked": {"expiryTime": 3600}}, {"expiryTime": 7200}, HOUR),  # sent instead of the row's
        ("kyc", {}, {"lifetime": 3600}, WEEK),  # the other form's parameter
        ("kyc", {}, {"generateDigitString": True}, DAY),
        ("kyc", {"lifetime": HOUR, "parameters": {"generateDigitString": True}}, {}, HOUR),
        ("kyc", {"lifetime": None}, {}, DAY),  # nothing is asked for: the provider's own
        ("openapi", {}, {"lifetime": 3600}, HOUR),
        ("kyb", {}, {"lifetime": 3600}, HOUR),
        ("kyb", {"lifetime": None}, {}, WEEK),
        ("kyb", {}, {"lifetime": 0}, timedelta(0)),
        ("au", {"lifetime": HOUR}, {"lifetime": 3600}, None),  # the vendor decides
    ]
    for make, account, row, lives in cases:
        with subtests.test(make=make, account=account, row=row, lives=lives):
            settings = ACCOUNTS[make](**account)
            assert lifetime_of(settings, row) == lives
            assert build_provider(settings).lifetime_with(row) == lives


def test_a_request_names_no_lifetime_that_nobody_asked_for():
    assert asked_lifetime(idenfy_account(lifetime=None)) is None
