"""The statements of the dashboard."""
