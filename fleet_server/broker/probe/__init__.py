"""Asks a broker, whoever made it, whether it keeps the promises that agents and ingest rest on.

Rules: each question has clients of its own, on topics below ``up/probe`` and ``down/probe`` where no report ever goes,
and leaves neither session, subscription nor retained message behind. What counts is what is delivered, not what the
broker says.
"""
