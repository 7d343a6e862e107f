"""The statements of alerts."""
