"""Metrics: one-minute series of calls, errors, tokens, cost and latency, from what is told of each call.

The folds over traces and over calls know what they told before, so they say by how much each series of each minute
changed (changes), and the fold over metrics adds up.
"""
