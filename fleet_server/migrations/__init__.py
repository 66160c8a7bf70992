"""Steps of the database schema, run by `fleet_server.migrate`. Expand first, contract a release later."""
