"""The host: processes, safe paths, archives, mounts. The only package that starts processes."""
