"""Software as far as this agent: fetched from the tenant's repository, judged, and held until it may be installed."""
