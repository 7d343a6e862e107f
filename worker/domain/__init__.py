"""Pure rules: functions of their arguments. No database, queue, network or terminal.

No clock: the time is an argument.
"""
