-- Segments that the database did not know, and were adopted: each input whose lines they hold is one of a kind of its own. SQLite
-- can't change a constraint, so the table is made anew; and so is dead_letters, which names it.
ALTER TABLE inputs RENAME TO inputs_before;
DROP INDEX inputs_name;
CREATE TABLE inputs (
    id          INTEGER PRIMARY KEY NOT NULL,
    name        TEXT NOT NULL,
    kind        TEXT NOT NULL CHECK (kind IN ('file', 'inbox', 'stdin', 'import', 'adopted')),
    state       TEXT NOT NULL CHECK (state IN ('reading', 'done', 'failed')),
    signature   TEXT NOT NULL,
    next_offset INTEGER NOT NULL,
    next_line   INTEGER NOT NULL,
    lines       INTEGER NOT NULL,
    accepted    INTEGER NOT NULL,
    rejected    INTEGER NOT NULL,
    duplicate   INTEGER NOT NULL DEFAULT 0,
    voided      INTEGER NOT NULL DEFAULT 0,
    conflicting INTEGER NOT NULL DEFAULT 0,
    changed_at  TEXT NOT NULL,
    run_ended   INTEGER NOT NULL DEFAULT 0,
    CHECK (lines = accepted + rejected)
) STRICT;
INSERT INTO inputs (id, name, kind, state, signature, next_offset, next_line, lines, accepted, rejected, duplicate, voided,
    conflicting, changed_at, run_ended)
SELECT id, name, kind, state, signature, next_offset, next_line, lines, accepted, rejected, duplicate, voided,
    conflicting, changed_at, run_ended
FROM inputs_before;
CREATE INDEX inputs_name ON inputs (name);

ALTER TABLE dead_letters RENAME TO dead_letters_before;
DROP INDEX dead_letters_reason;
CREATE TABLE dead_letters (
    id          INTEGER PRIMARY KEY NOT NULL,
    input_id    INTEGER NOT NULL REFERENCES inputs (id),
    line        INTEGER NOT NULL,
    byte_offset INTEGER NOT NULL,
    reason      TEXT NOT NULL,
    member      TEXT NOT NULL,
    detail      TEXT NOT NULL,
    content     BLOB NOT NULL,
    length      INTEGER NOT NULL,
    hash        BLOB NOT NULL,
    rejected_at TEXT NOT NULL
) STRICT;
INSERT INTO dead_letters (id, input_id, line, byte_offset, reason, member, detail, content, length, hash, rejected_at)
SELECT id, input_id, line, byte_offset, reason, member, detail, content, length, hash, rejected_at
FROM dead_letters_before;
CREATE INDEX dead_letters_reason ON dead_letters (reason);
DROP TABLE dead_letters_before;
DROP TABLE inputs_before;

-- Users whose personal data was erased, and keyed hashes of their e-mail addresses (docs/erasure.md). An erasure that has no end
-- was cut short, and is gone on with before anything else arrives.
CREATE TABLE erased_users (
    user_guid BLOB PRIMARY KEY NOT NULL,
    begun_at  TEXT NOT NULL,
    ended_at  TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE erased_emails (
    hash BLOB PRIMARY KEY NOT NULL
) STRICT, WITHOUT ROWID;

-- Contents that share identity and time, and of which one is masked: in which order they came before that. The key is a hash of
-- identity and content (model::content_key).
CREATE TABLE content_orders (
    day  INTEGER NOT NULL,
    key  BLOB NOT NULL,
    rank INTEGER NOT NULL,
    PRIMARY KEY (day, key)
) STRICT, WITHOUT ROWID;
