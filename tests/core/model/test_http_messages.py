"""Requests and answers show nothing of what they hold, and an answer has a bound."""

from onboarding_worker.core.model.http_messages import LARGEST_ANSWER, TOO_LARGE, HttpAnswer, HttpRequest


def test_an_answer_may_be_as_large_as_a_mebibyte_and_the_request_of_a_larger_one_was_carried_out():
    assert LARGEST_ANSWER == 1_048_576
    assert TOO_LARGE.sent
    assert "1048576" in TOO_LARGE.detail


def test_neither_a_request_nor_an_answer_shows_a_secret():
    request = HttpRequest("POST", "https://kyc.test/ona", {"authorization": "s3cret"}, b"t0ken")
    answer = HttpAnswer(201, {"x-token": "s3cret"}, b"t0ken")
    assert ("POST" in repr(request), "201" in repr(answer), "5 bytes" in repr(answer)) == (True, True, True)
    for secret in ("s3cret", "t0ken", "kyc.test"):
        assert secret not in f"{request!r} {answer!r}"
