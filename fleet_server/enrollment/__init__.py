"""How a device gets its identity: the installation's certificate authority, bundles, the fleet file."""
