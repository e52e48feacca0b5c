"""Alerts: rules over one-minute series, judged in the stream."""
