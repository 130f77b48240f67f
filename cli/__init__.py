"""The bastion command: one click command a file."""
