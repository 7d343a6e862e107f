"""What `run` shows while it works."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from onboarding_worker.cli.commands.serving import since_the_invitation
from onboarding_worker.cli.running.work import Pace, drawn_on, line_of
from onboarding_worker.core.model.states import JobState
from onboarding_worker.reporting.store.counts import AccountFacts, BatchCounts


def test_the_pace_is_that_of_the_last_seconds(subtests: pytest.Subtests):
    for seen, words in [
        ([(0, 0)], ""),
        ([(0, 0), (10, 0)], ""),
        ([(0, 0), (10, 240)], "24/s"),
        ([(0, 100), (10, 110)], "1/s"),
        ([(0, 0), (30, 3)], "6/min"),
        # A pause that is over for a while does not count any more.
        ([(0, 0), (600, 0), (610, 10), (630, 30), (641, 41)], "1/s"),
    ]:
        with subtests.test(seen=seen, words=words):
            pace = Pace()

            assert [pace.see(out, now) for now, out in seen][-1] == words


def test_a_display_draws_no_bar_before_its_total_is_known_and_labels_the_time():
    screen = io.StringIO()
    with Progress(console=Console(file=screen, force_terminal=True, width=100), auto_refresh=False) as bars:
        show = drawn_on(bars, on_click=False)
        before = len(bars.tasks)
        show(BatchCounts(jobs={JobState.WAITING: 3, JobState.INVITED: 1}), "waits until 12:00:00 UTC")

    assert before == 0
    assert [(task.description, task.completed, task.total) for task in bars.tasks] == [
        ("sessions", 0, 4),
        ("sent", 1, 4),
    ]
    assert bars.tasks[1].fields["note"] == "waits until 12:00:00 UTC"


@pytest.mark.parametrize(
    ("issued", "results", "words"),
    [(3, {}, ""), (4, {"approved": 2, "denied": 1}, "1 new link, 2 approved, 1 denied"), (5, {}, "2 new links")],
)
def test_new_links_and_results_are_progress_that_up_reports(issued: int, results: dict[str, int], words: str):
    counts = BatchCounts(sessions=3, accounts={"kyc": AccountFacts(issued=issued)}, results=results)

    assert since_the_invitation(counts) == words


def test_bought_on_click_a_row_that_is_out_is_not_counted_as_a_session():
    counts = BatchCounts(jobs={JobState.INVITED: 20}, sessions=20, accounts={"kyc": AccountFacts(issued=1)})
    screen = io.StringIO()
    with Progress(console=Console(file=screen, force_terminal=True, width=100), auto_refresh=False) as bars:
        drawn_on(bars, on_click=True)(counts, "")

    assert line_of(counts, on_click=True) == "20 of 20 out, 1 session bought"
    assert [(task.description, task.completed) for task in bars.tasks] == [("sent", 20)]
    assert bars.tasks[0].fields["note"] == "1 session bought"
