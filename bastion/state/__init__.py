"""What a bastion must not forget, in SQLite: grants, names, locks, used tokens, CA keys, the audit trail."""
