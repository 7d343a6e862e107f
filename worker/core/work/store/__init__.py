"""The statements of calls: what is claimed, which gates a row passes, what is recorded."""
