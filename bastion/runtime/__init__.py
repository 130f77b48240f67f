"""What everything else stands on: supervision, secrets, files, logs."""
