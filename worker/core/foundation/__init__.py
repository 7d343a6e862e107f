"""What every module may use: the clock, logs, keys, notation, the registry of features."""
