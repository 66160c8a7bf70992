"""ZVT payment terminals (Germany, Austria, Switzerland) on a serial line or TCP."""
