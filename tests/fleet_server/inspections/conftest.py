from tests.fleet_server.inspections.test_keeping import night

__all__ = ["night"]
