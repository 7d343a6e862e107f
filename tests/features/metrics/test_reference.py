"""The page on metrics has those that there are."""

from pathlib import Path

from worker.features.metrics.metrics_reference import PAGE, with_table


def test_the_page_on_metrics_has_its_table_from_the_code():
    page = (Path(__file__).parents[3] / PAGE).read_text(encoding="utf-8")
    assert page == with_table(page)
