"""The three certificate authorities: user, target, host."""
