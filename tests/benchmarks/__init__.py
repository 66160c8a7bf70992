"""Figures, measured beside their floors in one run: absolute numbers of one machine say little, ratios say more."""
