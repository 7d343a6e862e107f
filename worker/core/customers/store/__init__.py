"""The statements of customers and batches: admission, cancellation, decisions, suppression."""
