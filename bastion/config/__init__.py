"""bastion.toml as frozen objects."""
