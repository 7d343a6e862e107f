"""Small parts that know no onboarding: clock, ids, encryption, strict JSON, logs. Imports no other room."""
