"""The statements of renewals."""
