"""The paths of the API, a module per object. They decode, call the engine and answer; they decide nothing."""
