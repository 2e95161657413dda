"""The daemon: configuration, the choice of drivers, and the API over the engine."""
