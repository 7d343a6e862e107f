"""The desk and a customer whose verification is in review."""

import pytest

from onboarding_worker.reporting.store.ledger import nonresponders
from tests.core.rows.test_in_review import reviewed
from tests.features.service_desk.store.desks import desk_of


@pytest.mark.both_databases
def test_a_person_is_told_of_the_review_and_it_is_no_nonresponse(ona_in_review):
    ona_in_review.issue()
    ona_in_review.send()
    assert [one.customer_id for one in nonresponders(ona_in_review.database, by=ona_in_review.clock())] == ["Ona"]
    reviewed(ona_in_review)
    assert list(nonresponders(ona_in_review.database, by=ona_in_review.clock())) == []
    refused = desk_of(ona_in_review).may_renew("Ona", now=ona_in_review.clock())
    assert "has submitted" in refused.why
