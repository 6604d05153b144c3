"""The Redis store; `aupgate.store.redis.store` has it, and says what it guarantees.

Within this package `redis` is the client from PyPI: imports are absolute.
"""
