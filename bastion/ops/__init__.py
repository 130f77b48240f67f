"""What ops do: init, check, targets, rotation."""
