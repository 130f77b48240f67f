"""The tables of the state, as the steps by which they came about.

A step that has been released is never edited: what changes is added as a new step. There is no way back; a database
that is newer than this list is refused by `database.py`.
"""

from __future__ import annotations

STEPS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE ca_keys (
            id            TEXT PRIMARY KEY,
            authority     TEXT NOT NULL CHECK (authority IN ('user', 'target', 'host', 'tls')),
            public        TEXT NOT NULL UNIQUE,
            created_at    REAL NOT NULL,
            status        TEXT NOT NULL CHECK (status IN ('active', 'trusted', 'retired')),
            trusted_until REAL,
            CHECK ((status = 'active') = (trusted_until IS NULL))
        ) STRICT
        """,
        # One key of an authority signs, never two and never, between two statements of a rotation, none.
        "CREATE UNIQUE INDEX ca_keys_active ON ca_keys (authority) WHERE status = 'active'",
        """
        CREATE TABLE grants (
            serial          INTEGER PRIMARY KEY,
            user            TEXT NOT NULL,
            issuer          TEXT NOT NULL,
            subject         TEXT NOT NULL,
            groups          TEXT NOT NULL,
            method          TEXT NOT NULL,
            key_id          TEXT NOT NULL,
            key_fingerprint TEXT,
            client_address  TEXT NOT NULL,
            issued_at       REAL NOT NULL,
            valid_after     INTEGER NOT NULL,
            valid_before    INTEGER NOT NULL,
            ca_key_id       TEXT REFERENCES ca_keys (id),
            revoked_at      REAL,
            revoked_by      TEXT,
            revoked_reason  TEXT
        ) STRICT
        """,
        "CREATE INDEX grants_user ON grants (user, valid_before)",
        "CREATE INDEX grants_ca_key ON grants (ca_key_id, valid_before)",
        """
        CREATE TABLE identities (
            user      TEXT PRIMARY KEY,
            issuer    TEXT NOT NULL,
            subject   TEXT NOT NULL,
            pinned_at REAL NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE locks (
            user      TEXT PRIMARY KEY,
            reason    TEXT NOT NULL,
            locked_by TEXT NOT NULL,
            locked_at REAL NOT NULL,
            until     REAL
        ) STRICT
        """,
        """
        CREATE TABLE used_tokens (
            digest     TEXT PRIMARY KEY,
            expires_at REAL NOT NULL
        ) STRICT
        """,
        "CREATE INDEX used_tokens_expiry ON used_tokens (expires_at)",
        """
        CREATE TABLE audit_events (
            id      INTEGER PRIMARY KEY AUTOINCREMENT,
            time    REAL NOT NULL,
            event   TEXT NOT NULL,
            user    TEXT,
            session TEXT,
            client  TEXT,
            detail  TEXT NOT NULL
        ) STRICT
        """,
        "CREATE INDEX audit_events_user ON audit_events (user, id)",
        # INSERT OR REPLACE deletes without asking a delete trigger.
        """
        CREATE TRIGGER audit_events_follow BEFORE INSERT ON audit_events
        WHEN EXISTS (SELECT 1 FROM audit_events WHERE id = NEW.id)
        BEGIN SELECT RAISE(ABORT, 'audit events cannot be replaced'); END
        """,
        """
        CREATE TRIGGER audit_events_stay BEFORE UPDATE ON audit_events
        BEGIN SELECT RAISE(ABORT, 'audit events cannot be changed'); END
        """,
        """
        CREATE TRIGGER audit_events_remain BEFORE DELETE ON audit_events
        BEGIN SELECT RAISE(ABORT, 'audit events cannot be removed'); END
        """,
    ),
    (
        """
        CREATE TABLE stops (
            session      TEXT PRIMARY KEY,
            message      TEXT NOT NULL,
            requested_by TEXT NOT NULL,
            requested_at REAL NOT NULL
        ) STRICT
        """,
    ),
    (
        """
        CREATE TABLE kubeconfig_tokens (
            digest     TEXT PRIMARY KEY,
            serial     INTEGER NOT NULL REFERENCES grants (serial),
            target     TEXT NOT NULL,
            expires_at REAL NOT NULL
        ) STRICT
        """,
        "CREATE INDEX kubeconfig_tokens_expiry ON kubeconfig_tokens (expires_at)",
    ),
    (
        """
        CREATE TABLE holds (
            id        INTEGER PRIMARY KEY AUTOINCREMENT,
            session   TEXT,
            user      TEXT,
            target    TEXT,
            reason    TEXT NOT NULL,
            matter    TEXT,
            placed_by TEXT NOT NULL,
            placed_at REAL NOT NULL,
            lifted_by TEXT,
            lifted_at REAL,
            CHECK (coalesce(session, user, target) IS NOT NULL),
            CHECK ((lifted_by IS NULL) = (lifted_at IS NULL))
        ) STRICT
        """,
    ),
)
