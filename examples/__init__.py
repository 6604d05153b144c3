"""Applications to try the gateway on."""
