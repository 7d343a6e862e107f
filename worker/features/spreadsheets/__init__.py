"""Reads lists from XLSX workbooks and Parquet files: docs/features/spreadsheets.md."""

from worker.core.features import Feature

FEATURE = Feature(
    name="spreadsheets",
    about="Reads lists from XLSX workbooks and Parquet files. Without it lists are CSV or JSON.",
    offers={
        "LIST_FORMATS": ("worker.features.spreadsheets.formats:XLSX", "worker.features.spreadsheets.formats:PARQUET")
    },
)
