"""The bastion server: identity, certificates, the SSH front, sessions and their onward connections."""

__version__ = "0.1.0"
