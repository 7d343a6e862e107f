from hypothesis import HealthCheck, settings

# A loaded machine is no failure: properties are checked for what they say, not for how long it takes.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
