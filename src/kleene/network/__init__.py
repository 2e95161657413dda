"""Network: interfaces, addresses, firewall. ``driver`` is the contract, ``ipam`` and ``ruleset`` decide."""
