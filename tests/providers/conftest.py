from hypothesis import HealthCheck, settings

# A slow machine is no failure: property tests have no deadline.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
