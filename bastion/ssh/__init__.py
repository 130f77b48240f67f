"""The SSH front: authenticate, route, picker, built-in commands."""
