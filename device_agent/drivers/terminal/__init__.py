"""A terminal of its own (e-sign, traditional, smart), reached by the service that its vendor ships with it."""
