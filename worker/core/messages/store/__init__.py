"""The statements of messages: what is claimed, which gates a message passes, what is recorded."""
