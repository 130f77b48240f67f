"""Clusters behind the bastion, tried on a double of one, or on a real one (`scripts/test --kubernetes KUBECONFIG`)."""
