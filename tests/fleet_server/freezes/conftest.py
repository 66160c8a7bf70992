from tests.fleet_server.executions.conftest import desk

__all__ = ["desk"]
