"""Four certificate authorities: user (who people are), target (their onward sessions), host (the bastion itself), tls
(the bastion where it answers for a target)."""
