"""Fixtures that every test may ask for."""

from tests.services import clamd, nginx, redis_server

__all__ = ["clamd", "nginx", "redis_server"]
