"""The statements of dropped files."""
