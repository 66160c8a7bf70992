"""Checks, tests and fixes asked of devices: the ledger of their states, deadlines and verdicts."""
