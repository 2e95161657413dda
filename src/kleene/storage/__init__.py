"""Storage: datasets, their snapshots and clones. ``driver`` is the contract, the rest are its backends."""
