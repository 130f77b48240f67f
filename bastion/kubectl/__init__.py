"""A person's own kubectl: HTTP on a channel, each request decided upon, recorded and passed on to the cluster."""
