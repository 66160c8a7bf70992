"""The demo: a broker, a fleet server, three agents and their hardware on one machine, owned by one process."""
