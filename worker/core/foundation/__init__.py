"""What every module may use: the clock, logs, ids, the key ring, strict readers."""
