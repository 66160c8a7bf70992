"""Stand-ins for hardware and network, for our tests and for customers' CI."""
