"""Many links in one process: wire-level peers with the real rules of session, outbox and reconnecting, and a traffic
profile instead of hardware.
"""
