from worker.core.limits.rate_limits import Limit
from worker.web.events.request_body import LONGEST_WAIT, preferred_wait
from worker.web.turns import Allowance


def test_the_preferred_wait_is_bounded_and_an_unreadable_header_is_no_preference(subtests):
    for headers, seconds in [
        ([], 0),
        ([""], 0),
        (["wait=2"], 2),
        (["respond-async, WAIT = 3; of=no, wait=4"], 3),
        (["handling=lenient", 'wait="5"'], 5),
        (["wait=100"], LONGEST_WAIT),
        (["wait=999999999"], LONGEST_WAIT),
        (["wait=9999999999"], 0),
        (["wait=-1", "wait=x, wait", "await=3", "wait=1.5"], 0),
        (["wait=²"], 0),
    ]:
        with subtests.test(headers=headers, seconds=seconds):
            assert preferred_wait(headers) == seconds


def test_an_allowance_fills_evenly_up_to_what_its_limit_allows():
    allowance = Allowance(Limit.parse("60/minute"))
    assert [allowance.take(0, 0.0) for _ in range(60)] == [0.0] * 60
    assert allowance.take(0, 0.0) == 1.0
    assert allowance.take(0, 0.75) == 0.25
    assert allowance.take(0, 1.0) == 0.0
    assert allowance.take(0, 1.0) == 1.0
    assert [allowance.take(0, 9999.0) for _ in range(61)][-1] == 1.0
