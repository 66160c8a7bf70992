"""The command line, one module a group of commands.

Each module has ``register(app)`` and imports nothing heavy at its top: ``fleet-server --help`` must not wait for
FastAPI or SQLAlchemy. A command that refuses raises `FleetError`; `fleet_server.__main__` prints it as one sentence.
"""
