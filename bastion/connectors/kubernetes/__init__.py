"""Kubernetes: clusters opened with the bastion's own credential, in a person's name, and what runs in their pods."""
