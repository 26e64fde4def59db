"""Who may call what: accounts, keys, tokens, limits and address lists. One implementation for every transport."""
