"""The driver families that actions are declared for."""

from __future__ import annotations

HOST = "host"
TERMINAL = "terminal"
ZVT = "zvt"
ESCPOS = "escpos"
MODEM = "modem"

ALL = (HOST, TERMINAL, ZVT, ESCPOS, MODEM)
ON_A_LINE = (ZVT, ESCPOS, MODEM)
