"""The statements of customers and batches: admission, cancellation, suppression."""
