"""`[import.values]`: which words may stand for which, in which column."""

import pytest

from onboarding_worker.settings.routes import words_by_column


@pytest.mark.parametrize("column", ["phone", "country", "first_name", "tags", "message.branch", "idenfy-kyc.comment"])
def test_each_column_may_have_words_for_nothing(column):
    assert words_by_column({column: {" Kein ": ""}}) == {column: {"kein": ""}}


@pytest.mark.parametrize(
    "given",
    [{"phone": {"x": "+37060000000"}}, {"country": {"x": "Q1"}}, {"phne": {"x": ""}}, {"consent": {"x": True}}, ["x"]],
)
def test_other_words_are_of_columns_of_few_words_and_must_be_good_there(given):
    with pytest.raises(ValueError, match=r"expected|not|column"):
        words_by_column(given)
