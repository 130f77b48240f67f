"""People's own PostgreSQL clients: psql, drivers, tools, over a connection that ssh forwards to a target's name."""
