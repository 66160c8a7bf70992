"""One folder per family of attached devices: `wire` turns bytes into frames, `device` polls, checks, mends.

A driver owns one line, is synchronous and runs on one worker thread. What a peer sends never raises: it is counted and
shows in the answer. Opening real ports is left to the adapters.
"""
