"""Writes the table of docs/features/metrics.md: `python -m worker.features.metrics.metrics_reference`. A test compares
it.
"""

from pathlib import Path

from worker.core.model import metrics
from worker.core.model.metrics import PREFIX, Metric

PAGE = Path("docs/features/metrics.md")
BEGIN, END = "<!-- metrics: generated -->\n", "<!-- end -->"


def table() -> str:
    """All metrics, first those that are read from the database."""
    head = ["| metric | type | labels | says |", "|---|---|---|---|"]
    return "\n".join([*head, *map(_line, (*metrics.READ, *metrics.COUNTED))]) + "\n"


def with_table(page: str) -> str:
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}{table()}{END}{rest.partition(END)[2]}"


def _line(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{PREFIX}{metric.name}` | {metric.type.value} | {labels} | {metric.says} |"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
