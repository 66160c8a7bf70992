"""Cellular modems that speak AT commands (3GPP TS 27.007)."""
