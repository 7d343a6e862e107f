"""What becomes of a session: reminders, expiry, reissue, corrected addresses."""
