"""What a process counts, until it is in the database."""

from onboarding_worker.core.model import metrics
from onboarding_worker.core.model.metrics import Meters, Metric, Series, Type


def test_news_are_what_was_counted_since_they_were_stored():
    meters = Meters()
    meters.add(metrics.CALLS, "kyc", "done", amount=3)
    meters.stored(meters.news())
    meters.add(metrics.CALLS, "kyc", "done")
    meters.add(metrics.CALLS, "kyc", "auth")

    assert meters.news() == {Series("calls_total", ("kyc", "done")): 1, Series("calls_total", ("kyc", "auth")): 1}


def test_news_that_could_not_be_stored_come_again():
    meters = Meters()
    meters.add(metrics.CALLS, "kyc", "done")
    meters.news()
    assert meters.news() == {Series("calls_total", ("kyc", "done")): 1}


def test_a_value_is_counted_in_the_bucket_whose_bound_it_does_not_exceed():
    meters = Meters()
    observe = meters.observer(metrics.CALL_SECONDS, "kyc")
    for seconds in (0.05, 0.06, 99.0):
        observe(seconds)

    counted = {series.bucket: value for series, value in meters.news().items()}
    assert counted == {"0.05": 1, "0.1": 1, "+Inf": 1, "sum": 99.11}
    assert meters.observer(metrics.CALL_SECONDS, "kyc") is observe


def test_what_was_stored_twice_is_no_news():
    meters = Meters()
    observe = meters.observer(metrics.CALL_SECONDS, "kyc")
    for _ in range(3):
        meters.add(metrics.CALLS, "kyc", "done", amount=2)
        observe(40.0)
        news = meters.news()
        assert set(news.values()) == {2, 1, 40}
        meters.stored(news)
    assert meters.news() == {}


def test_a_metric_with_bounds_is_a_histogram_and_every_other_one_a_counter_by_its_name():
    counted = [one for one in vars(metrics).values() if isinstance(one, Metric)]
    for one in counted:
        assert one.type is (Type.HISTOGRAM if one.bounds else Type.COUNTER)
        assert one.name.endswith("_total") is not bool(one.bounds)
        assert list(one.bounds) == sorted(set(one.bounds))
    assert {one.name for one in counted if one.bounds == metrics.CALL} == {
        "call_seconds",
        "message_seconds",
        "http_seconds",
    }
