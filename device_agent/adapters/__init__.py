"""The agent's hands: ports, sockets, files, clocks, one to a file, each behind a Protocol that the core side owns."""
