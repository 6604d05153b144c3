"""Fixtures that every test may ask for, and how properties are run."""

from hypothesis import HealthCheck, settings

from tests.services import clamd, nginx, redis_server

__all__ = ["clamd", "nginx", "redis_server"]

# How long an example takes says something about the machine, not about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
