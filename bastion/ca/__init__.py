"""Three certificate authorities: user (who people are), target (their onward sessions), host (the bastion itself)."""
