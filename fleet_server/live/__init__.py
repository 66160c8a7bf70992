"""Live mode: what devices say while somebody watches, from the broker to open pages without touching the database."""
