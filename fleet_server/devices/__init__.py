"""Terminals, gateways and what hangs on their lines: who they are, where they stand, whether they were heard."""
