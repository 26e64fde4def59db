"""The subcommands of `entasis` that are not about running it."""
