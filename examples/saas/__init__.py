"""Stockroom: a small SaaS application with one of everything that an acceptable use policy speaks of."""
