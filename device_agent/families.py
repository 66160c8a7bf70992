"""The driver families that actions are declared for."""

from __future__ import annotations

HOST = "host"
# A link whose own machine is not looked at: there is an agent, and nothing else to ask.
LINK = "link"
TERMINAL = "terminal"
ZVT = "zvt"
ESCPOS = "escpos"
MODEM = "modem"

ALL = (HOST, TERMINAL, ZVT, ESCPOS, MODEM)
ON_A_LINE = (ZVT, ESCPOS, MODEM)
# Have a screen or paper that a merchant can read.
SHOWING = frozenset({TERMINAL, ESCPOS})
