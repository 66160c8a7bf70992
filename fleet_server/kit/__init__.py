"""Machinery that every domain uses: paging, times, identifiers. Knows no domain."""
