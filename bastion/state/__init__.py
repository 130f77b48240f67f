"""The authoritative SQLite store: grants, revocations, locks, CA keys, audit events."""
