"""Budgets: one ledger per organisation, folded in the order of its log.

A request is a *spend*: reserved (pending), then settled (posted), released or expired; or charged without a
reservation. A spend lies on *lines*, one for each budget above it in the window of its time. Whatever happens to a
spend changes its effect on its lines, and the difference is booked, so that balances are sums of effects.
"""
