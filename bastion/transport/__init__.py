"""asyncssh, tamed: the only place that touches its private names."""
