"""The engine: what Kleene does with images, containers, networks and volumes, on any platform."""
