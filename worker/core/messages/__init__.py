"""Messages that are due: claimed, let through or kept back, recorded; reminders. Statements."""
