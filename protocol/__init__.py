"""What device and server say to each other. Pure: no I/O, no clock, no randomness."""
