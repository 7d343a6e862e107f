"""The statements of customers: cancellation, suppression, details that wait, erasure."""
