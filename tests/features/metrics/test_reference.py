"""The page on metrics has those that there are: `python -m tests.features.metrics.test_reference` writes them."""

from onboarding_worker.core.model.metrics import Metric, Type
from onboarding_worker.features.metrics.gauges import READ
from onboarding_worker.features.metrics.metrics_page import COUNTED, PREFIX
from tests.suite.packages import ROOT

PAGE = ROOT / "docs/features/metrics.md"
BEGIN, END = "<!-- metrics: generated -->\n", "<!-- end -->"


def all_metrics() -> str:
    """A line for each, first those that are read from the database."""
    return "\n".join(map(_line, (*READ, *COUNTED))) + "\n"


def with_them(page: str) -> str:
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{all_metrics()}\n{END}{rest.partition(END)[2]}"


def _line(metric: Metric) -> str:
    labels = "".join(f", `{label}`" for label in metric.labels)
    return f"- `{PREFIX}{metric.name}` ({metric.type.value}{labels}): {metric.says}"


def test_the_page_has_the_metrics_of_the_code():
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_them(page)


def test_names_and_labels_are_as_prometheus_wants_them():
    names = [metric.name for metric in (*COUNTED, *READ)]
    assert len(names) == len(set(names))
    for metric in COUNTED:
        assert metric.name.endswith("_total") == (metric.type is Type.COUNTER)
        assert bool(metric.bounds) == (metric.type is Type.HISTOGRAM)
        assert list(metric.bounds) == sorted(metric.bounds)


if __name__ == "__main__":
    PAGE.write_text(with_them(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
