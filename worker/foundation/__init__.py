"""Small parts without any onboarding rule: clock, ids, encryption, strict JSON, logs. Imports no other room."""
