"""Pure rules: functions of their arguments, time among them. No database, queue, network, terminal or clock."""
