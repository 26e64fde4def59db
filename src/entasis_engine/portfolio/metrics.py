"""What the desk counts. The names are read by dashboards: change them as you would change an API."""

from __future__ import annotations

from prometheus_client import Gauge, Histogram

QUEUE_COMMANDS = Gauge("entasis_desk_queue_commands", "Commands that wait for the desk")
GROUP_COMMANDS = Histogram(
    "entasis_desk_group_commands",
    "Commands that the desk decided and kept together",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
FOLLOWED = Gauge("entasis_positions_followed_accounts", "Accounts whose positions somebody streams")
