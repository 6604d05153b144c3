"""Who sent a request and whom it acts for."""
