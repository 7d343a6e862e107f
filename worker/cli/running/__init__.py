"""What `onboard run` does after its list is imported: the work, how it ends, and what is said of it."""
