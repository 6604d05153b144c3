"""The adapters: they turn what a server knows into a `Request`, and enforce the `Verdict`."""

from aupgate.middleware.asgi import AcceptableUse

__all__ = ["AcceptableUse"]
