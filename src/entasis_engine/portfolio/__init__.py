"""Paper-traded positions: fills, margin, and the double-entry ledger that holds every account's money."""
