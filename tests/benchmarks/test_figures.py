"""The measuring code of benchmarks/: it must fail on wrong data, or its figures prove nothing."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from benchmarks import importing, issuing
from benchmarks.importing import Spent
from benchmarks.latency import STAGES, Waits, mails_of_events, stages_of
from benchmarks.limits import Calls
from benchmarks.processes import Failed
from benchmarks.provider import answering, nginx
from benchmarks.sides import Figure, expect
from onboarding_worker.core.rules.limits import Limit
from onboarding_worker.lists.lines import AcceptedLine
from onboarding_worker.lists.listing import open_list
from onboarding_worker.lists.options import ListOptions
from tests.lists.kinds import ACCEPTED, DUPLICATE, REJECTED, kind_of
from tests.suite.some import some

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
TEN = Limit.parse("10/second")


def entry(seconds: float, *, status: int = 201) -> dict:
    at = (NOON + timedelta(seconds=seconds)).isoformat()
    return {"at": at, "status": status, "processed": status == 201, "client": f"C-{seconds}"}


def test_calls_as_fast_as_the_limit_use_all_of_it():
    calls = Calls.of([entry(number / 10) for number in range(51)], seconds=60)
    assert calls.used(TEN) == pytest.approx(1)
    assert calls.refused_share == 0


def test_a_refused_call_uses_nothing():
    log = [entry(number / 10, status=429 if number % 5 == 1 else 201) for number in range(51)]
    calls = Calls.of(log, seconds=60)
    assert calls.refused_share == pytest.approx(10 / 51)
    assert calls.used(TEN) == pytest.approx(0.8)


def test_what_comes_after_the_time_is_not_counted():
    calls = Calls.of([entry(number / 10) for number in range(51)] + [entry(20)], seconds=10)
    assert (calls.calls, calls.seconds) == (51, 5)


def test_two_sessions_for_a_customer_are_no_figure():
    with pytest.raises(Failed, match="two sessions"):
        Calls.of([entry(0), entry(1) | {"client": "C-0"}], seconds=10)


@pytest.mark.parametrize("found", [0, 1])
def test_a_log_without_calls_is_no_figure(found):
    with pytest.raises(Failed, match="no calls"):
        Calls.of([entry(0)] * found, seconds=10)


def test_a_side_that_left_a_row_out_is_no_figure():
    expect(10, {"calls": 10, "issued rows": 10})
    with pytest.raises(Failed, match="of 10 rows: 9 issued rows"):
        expect(10, {"calls": 10, "issued rows": 9})


def test_ratios_are_those_of_the_medians():
    figures = {
        issuing.BARE: [Figure(900, 0.1), Figure(1000, 0.1), Figure(5000, 0.1)],
        issuing.NAIVE: [Figure(rate, 3.0, 0.3) for rate in (49, 50, 70)],
        "ours": [Figure(rate, None) for rate in (700, 800, 801)],
    }
    bare, naive, ours = issuing.compared(figures)
    assert (bare["to_bare"], bare["to_naive"]) == (1, 20)
    assert (ours["to_bare"], ours["to_naive"], ours["cpu_per_1000"]) == (0.8, 16, None)
    assert naive["database_cpu_per_1000"] == 0.3


def at(milliseconds: float) -> datetime:
    return NOON + timedelta(milliseconds=milliseconds)


def mail(number: int, milliseconds: float, *, kind: str = "e") -> dict:
    to = [f"{kind}{number}@example.com"]
    return {"endpoint": "smtp", "status": 250, "processed": True, "at": at(milliseconds).isoformat(), "to": to}


def test_an_event_waits_from_its_publishing_to_its_own_mail():
    published = {f"E-{number:08}": at(100 * number) for number in range(101)}
    entries = [mail(number, 100 * number + number + 1) for number in range(101)] + [mail(7, 5, kind="c")]
    facts = Waits.of(published, mails_of_events(entries)).facts
    assert facts == {"p50": 51, "p90": 91, "p99": 100, "max": 101}


def test_an_event_without_a_mail_or_with_two_is_no_figure():
    published = {"E-00000000": NOON, "E-00000001": NOON}
    with pytest.raises(Failed, match="1 of 2 events got no email"):
        Waits.of(published, mails_of_events([mail(0, 1)]))
    with pytest.raises(Failed, match="two emails"):
        Waits.of(published, mails_of_events([mail(0, 1), mail(1, 1), mail(1, 2)]))


def test_the_stages_of_an_event_add_up_to_its_way():
    call = {"endpoint": "idenfy-kyc", "status": 201, "processed": True, "at": at(6).isoformat(), "client": "E-00000003"}
    way = {"E-00000003": [at(1), at(3), at(10), at(15)]}
    (stages,) = stages_of({"E-00000003": NOON}, way, [call, mail(3, 21)])
    assert stages == [1, 2, 3, 4, 5, 6]
    assert len(stages) == len(STAGES)


def test_an_import_is_measured_without_its_start_and_by_its_medians():
    starts = {importing.SCRIPT: Spent(1, 1, 0, 30), "ours": Spent(2, 1.5, 0.5, 100)}
    found = {importing.SCRIPT: [Spent(2, 2, 0.1, 40)], "ours": [Spent(seconds, 2.5, 1, 120) for seconds in (3, 4, 7)]}
    script, ours = importing.compared(10_000, starts, found)
    assert (script["rate"], script["to_script"], script["megabytes"]) == (10_000, 1, 40)
    assert (ours["rate"], ours["rates"], ours["to_script"]) == (5_000, [10_000, 5_000, 2_000], 0.5)
    assert (ours["cpu_per_1000"], ours["database_cpu_per_1000"]) == (0.1, 0.05)
    table = importing.table({"rows": 10_000, "rounds": 1, "load_before": 0.1, "sides": [script, ours]})
    assert "| ours | 5,000 (10,000, 5,000, 2,000) | 0.5 | 0.100 | 0.050 | 120 MB |" in table


@pytest.mark.parametrize("contacts", [True, False])
def test_the_list_of_the_import_has_refused_rows_and_second_ones(tmp_path, contacts):
    refused, twice = importing.write_list(tmp_path / "list.csv", 1000, contacts=contacts)
    assert (refused, twice) == (5, 2)
    lines = list(open_list(tmp_path / "list.csv", ListOptions(today=date(2026, 11, 20))))
    kinds = Counter(kind_of(line) for line in lines)
    assert kinds == {ACCEPTED: 993, REJECTED: refused, DUPLICATE: twice}
    assert all(bool(line.customer.person.email) is contacts for line in some(lines) if isinstance(line, AcceptedLine))


@pytest.mark.parametrize("program", [nginx(), None], ids=["nginx", "python"])
async def test_the_provider_counts_its_calls_and_not_requests_for_the_count(program, request, tmp_path: Path):
    if request.node.callspec.id == "nginx" and program is None:
        pytest.skip("nginx is not installed")
    with answering(tmp_path, program=program) as provider:
        assert [provider.answered(), provider.answered()] == [0, 0]
        async with aiohttp.ClientSession() as session:
            references = set()
            for _ in range(3):
                async with session.post(f"{provider.url}/api/v2/token", json={"clientId": "C-1"}) as answer:
                    assert answer.status == 201
                    references.add((await answer.json())["scanRef"])
        assert (provider.answered(), len(references)) == (3, 3)
        provider.forget()
        assert provider.answered() == 0
