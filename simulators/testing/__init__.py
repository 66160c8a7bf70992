"""For customers' CI: simulated terminals with faults, driven by the real agent, recorded here or seen by a real server.

Nothing here is imported before a test asks for it; `simulators.pytest_plugin` is the door.
"""
