"""Reads lists from XLSX workbooks and Parquet files: docs/features/spreadsheets.md."""

from onboarding_worker.core.foundation.features import Feature

FEATURE = Feature(
    name="spreadsheets",
    about="Reads lists from XLSX workbooks and Parquet files. Without it lists are CSV or JSON.",
    offers={
        "LIST_FORMATS": (
            "onboarding_worker.features.spreadsheets.formats:XLSX",
            "onboarding_worker.features.spreadsheets.formats:PARQUET",
        )
    },
)
