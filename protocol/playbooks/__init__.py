"""Playbooks: steps of checks and fixes as data, and the one rule by which a server, and a dry run, walks them.

Invariants: a walk of a definition that `checking` lets pass ends, whatever the device says; the same definition and the
same answers lead to the same next step, so whoever walks may die and another one go on.
"""
