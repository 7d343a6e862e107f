"""Decides what changes when a person pauses, resumes, cancels, retries or settles rows. Refuses what a row has left."""
