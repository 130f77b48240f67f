"""PostgreSQL behind the bastion: signing in for a person, passing messages on, and what is recorded of them."""
