"""Lists as XLSX workbooks and Parquet files."""

from worker.core.features import Feature

FEATURE = Feature(
    name="spreadsheets",
    about="Reads lists from XLSX workbooks and Parquet files. Without it lists are CSV or JSON.",
)
