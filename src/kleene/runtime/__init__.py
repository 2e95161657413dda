"""Runtime: containers as the kernel sees them. ``driver`` is the contract, the rest are its backends."""
