"""Samples of health metrics: blocks of columns, the latest value of each, ranges for a chart."""
