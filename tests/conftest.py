"""Settings that all tests share."""

from hypothesis import HealthCheck, settings

# Time is the machine's business: a busy one is no reason for a test to fail.
settings.register_profile(
    "rtpmix", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("rtpmix")
