"""Fixtures for tests of the examples."""

from tests.examples.running import browser, customer, robot, site

__all__ = ["browser", "customer", "robot", "site"]
