"""Which devices a technician sees, and how long."""
