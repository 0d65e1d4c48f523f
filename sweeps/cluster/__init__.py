"""Ray: the connection, resources, code for the workers, progress."""
