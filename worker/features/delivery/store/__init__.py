"""The statements of delivery reports."""
