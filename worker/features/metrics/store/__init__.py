"""The statements of metrics."""
