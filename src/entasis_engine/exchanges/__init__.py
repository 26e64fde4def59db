"""Where ticks come from: one Protocol, and what fulfils it."""
