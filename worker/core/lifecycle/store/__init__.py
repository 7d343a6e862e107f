"""The statements of a session's life once it is there: links too old, reminders, replacement."""
