-- One row: where the store stands. `mac` covers the row and the multiset hash over all objects and entries.
CREATE TABLE store_state (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    store        BLOB    NOT NULL,
    epoch        INTEGER NOT NULL,
    commit_seq   INTEGER NOT NULL,
    audit_seq    INTEGER NOT NULL,
    audit_events INTEGER NOT NULL,
    audit_mac    BLOB    NOT NULL,
    run          INTEGER NOT NULL,
    at_ms        INTEGER NOT NULL,
    mac          BLOB    NOT NULL
) STRICT;

-- Terms of the keyring, sealed under the root key. Term 0 is the base key.
CREATE TABLE keyring (
    term   INTEGER PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT;

-- Managed objects. `sealed` authenticates every other column but `n`.
CREATE TABLE object (
    n            INTEGER PRIMARY KEY,
    id           BLOB    NOT NULL,
    organisation BLOB    NOT NULL,
    owner        BLOB    NOT NULL,
    version      INTEGER NOT NULL,
    state        INTEGER NOT NULL,
    object_type  INTEGER NOT NULL,
    keystore     BLOB    NOT NULL,
    custody      INTEGER NOT NULL,
    created_ms   INTEGER NOT NULL,
    attributes   BLOB    NOT NULL,
    tokens       BLOB    NOT NULL,
    sealed       BLOB    NOT NULL
) STRICT;
-- Covers the scan of (id, version) at start, and look-up by id.
CREATE UNIQUE INDEX object_version ON object (id, version);
CREATE INDEX object_owner ON object (organisation, owner, id);

-- Equality tokens of indexed attributes; the organisation is inside the token.
CREATE TABLE object_index (
    token  BLOB NOT NULL,
    object BLOB NOT NULL,
    PRIMARY KEY (token, object)
) STRICT, WITHOUT ROWID;

-- Names, unique per owner: organisation and owner are inside the token.
CREATE TABLE object_name (
    token  BLOB PRIMARY KEY,
    object BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Clients, certificates, users, groups, members, grants, keystores, intents, settings. `version` is the commit that wrote the row.
CREATE TABLE entry (
    kind         INTEGER NOT NULL,
    id           BLOB    NOT NULL,
    organisation BLOB    NOT NULL,
    version      INTEGER NOT NULL,
    sealed       BLOB    NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

-- Audit events, packed per group commit, each row chained to the one before. encoding 0: JSON lines.
CREATE TABLE audit_segment (
    seq         INTEGER PRIMARY KEY,
    first_event INTEGER NOT NULL,
    count       INTEGER NOT NULL,
    at_ms       INTEGER NOT NULL,
    encoding    INTEGER NOT NULL,
    body        BLOB    NOT NULL,
    mac         BLOB    NOT NULL
) STRICT;

-- Which rows each commit wrote: kind 1 | id 16 | version 8 (0: removed), repeated. Invalidates caches, names damaged rows.
CREATE TABLE change_log (
    seq   INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    body  BLOB    NOT NULL
) STRICT;
