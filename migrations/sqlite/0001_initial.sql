-- The store: what is small and needs transactions. The events themselves are in the event log (docs/event-log.md).
-- GUIDs are 16 bytes and days are days since 1970, except in the tables that people read: service_usage.

CREATE TABLE settings (
    name  TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One writer: its epoch is checked in every commit.
CREATE TABLE lease (
    id          INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    epoch       INTEGER NOT NULL,
    holder      TEXT NOT NULL,
    acquired_at TEXT NOT NULL
) STRICT;
INSERT INTO lease VALUES (1, 0, 'nobody', '');

-- Ingest -------------------------------------------------------------------------------------------------------------

-- One row each time an input is read; its ledger is lines = accepted + rejected, and accepted = stored + duplicate.
CREATE TABLE inputs (
    id          INTEGER PRIMARY KEY NOT NULL,
    name        TEXT NOT NULL,
    kind        TEXT NOT NULL CHECK (kind IN ('file', 'inbox', 'stdin', 'import')),
    state       TEXT NOT NULL CHECK (state IN ('reading', 'done', 'failed')),
    -- Size and time of change: a reading that was cut short goes on only where they are the same.
    signature   TEXT NOT NULL,
    next_offset INTEGER NOT NULL,
    next_line   INTEGER NOT NULL,
    lines       INTEGER NOT NULL,
    accepted    INTEGER NOT NULL,
    rejected    INTEGER NOT NULL,
    -- Of the accepted lines those that are not counted, as of the last rollup.
    duplicate   INTEGER NOT NULL DEFAULT 0,
    voided      INTEGER NOT NULL DEFAULT 0,
    conflicting INTEGER NOT NULL DEFAULT 0,
    changed_at  TEXT NOT NULL,
    -- Whether the run that read it came to its end. One that was cut short goes on: what it had read is not read again.
    run_ended   INTEGER NOT NULL DEFAULT 0,
    CHECK (lines = accepted + rejected)
) STRICT;
CREATE INDEX inputs_name ON inputs (name);

CREATE TABLE segments (
    id         BLOB PRIMARY KEY NOT NULL,
    path       TEXT NOT NULL UNIQUE,
    rows       INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    hash       BLOB NOT NULL,
    -- Where the file's end begins, which tells of its pages, and the hash of it.
    end_at     INTEGER NOT NULL,
    end_hash   BLOB NOT NULL,
    created_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE segment_partitions (
    day        INTEGER NOT NULL,
    segment_id BLOB NOT NULL REFERENCES segments (id),
    first_row  INTEGER NOT NULL,
    rows       INTEGER NOT NULL,
    PRIMARY KEY (day, segment_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE dead_letters (
    id          INTEGER PRIMARY KEY NOT NULL,
    input_id    INTEGER NOT NULL REFERENCES inputs (id),
    line        INTEGER NOT NULL,
    byte_offset INTEGER NOT NULL,
    reason      TEXT NOT NULL,
    member      TEXT NOT NULL,
    detail      TEXT NOT NULL,
    -- The whole line, or its first 64 KiB where it is too long.
    content     BLOB NOT NULL,
    length      INTEGER NOT NULL,
    hash        BLOB NOT NULL,
    rejected_at TEXT NOT NULL
) STRICT;
CREATE INDEX dead_letters_reason ON dead_letters (reason);

-- Voids by the UTC day and identity that they aim at.
CREATE TABLE voids (
    target_day   INTEGER NOT NULL,
    service_guid BLOB NOT NULL,
    target_time  INTEGER NOT NULL,
    source       TEXT NOT NULL,
    id           TEXT NOT NULL,
    PRIMARY KEY (target_day, service_guid, target_time, source, id)
) STRICT, WITHOUT ROWID;

-- Facts ----------------------------------------------------------------------------------------------------------------

-- Days to recompute: whole where service_guid is empty, or else that service alone.
CREATE TABLE dirty_partitions (
    day          INTEGER NOT NULL,
    service_guid BLOB NOT NULL,
    PRIMARY KEY (day, service_guid)
) STRICT, WITHOUT ROWID;

-- A service's day facts of one month of the reporting zone (rollup::MonthFacts). The month comes first, so that the newest
-- facts lie side by side however long the history is.
CREATE TABLE service_months (
    month        INTEGER NOT NULL,
    service_guid BLOB NOT NULL,
    facts        BLOB NOT NULL,
    PRIMARY KEY (month, service_guid)
) STRICT, WITHOUT ROWID;

-- A user's days with changes (rollup::UserHistory).
CREATE TABLE users (
    service_guid BLOB NOT NULL,
    user_guid    BLOB NOT NULL,
    history      BLOB NOT NULL,
    PRIMARY KEY (service_guid, user_guid)
) STRICT, WITHOUT ROWID;

-- What all months of a service amount to (rollup::ServiceTotals), how far its rows reach, and from which day on they must be
-- drawn anew.
CREATE TABLE service_progress (
    service_guid BLOB PRIMARY KEY NOT NULL,
    first_day    INTEGER,
    held         BLOB NOT NULL,
    rows_from    INTEGER,
    rows_through INTEGER,
    dirty_from   INTEGER
) STRICT, WITHOUT ROWID;

-- The directory --------------------------------------------------------------------------------------------------------

-- The service.updated events that count, in event order within each UTC day.
CREATE TABLE service_patches (
    service_guid BLOB NOT NULL,
    day          INTEGER NOT NULL,
    position     INTEGER NOT NULL,
    time         INTEGER NOT NULL,
    patch        TEXT NOT NULL,
    PRIMARY KEY (service_guid, day, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE service_directory (
    service_guid  BLOB PRIMARY KEY NOT NULL,
    status        TEXT NOT NULL,
    created_on    TEXT NOT NULL,
    reseller_guid BLOB,
    partner_guid  BLOB,
    document      TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Rows -----------------------------------------------------------------------------------------------------------------

-- The columns of spec/usage.md. closes_at is when an open or settling row becomes closed. The period comes first, so that
-- what a rollup touches, the newest rows of all services, lies side by side.
CREATE TABLE service_usage (
    service_guid TEXT NOT NULL,
    period_type  TEXT NOT NULL,
    period       TEXT NOT NULL,
    total_user_count        INTEGER NOT NULL,
    pro_user_count          INTEGER NOT NULL,
    guest_user_count        INTEGER NOT NULL,
    disabled_user_count     INTEGER NOT NULL,
    unregistered_user_count INTEGER NOT NULL,
    feature_usage_secure_messaging_gateway INTEGER NOT NULL,
    feature_usage_secure_messaging_plus    INTEGER NOT NULL,
    feature_usage_data_leak_prevention     INTEGER NOT NULL,
    feature_usage_secure_large_files       INTEGER NOT NULL,
    feature_usage_secure_forms             INTEGER NOT NULL,
    total_message_count      INTEGER NOT NULL,
    total_attachment_count   INTEGER NOT NULL,
    attachment_storage_usage INTEGER NOT NULL,
    event_count  INTEGER NOT NULL,
    input_digest BLOB NOT NULL,
    clamped      INTEGER NOT NULL,
    revision     INTEGER NOT NULL,
    state        TEXT NOT NULL,
    computed_at  TEXT NOT NULL,
    closes_at    TEXT NOT NULL,
    PRIMARY KEY (period_type, period, service_guid),
    CHECK (total_user_count = pro_user_count + guest_user_count + disabled_user_count + unregistered_user_count)
) STRICT, WITHOUT ROWID;
CREATE INDEX service_usage_clamped ON service_usage (period) WHERE clamped = 1;

-- When rows change state by themselves: at the end of their period, and when they have settled. Distinct, so few.
CREATE TABLE state_changes (
    due_at      TEXT NOT NULL,
    period_type TEXT NOT NULL,
    period      TEXT NOT NULL,
    PRIMARY KEY (due_at, period_type, period)
) STRICT, WITHOUT ROWID;

-- Access ---------------------------------------------------------------------------------------------------------------

CREATE TABLE api_keys (
    id         TEXT PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL,
    role       TEXT NOT NULL,
    scope      BLOB,
    key_hash   BLOB NOT NULL UNIQUE,
    created_at TEXT NOT NULL,
    expires_at TEXT,
    revoked_at TEXT
) STRICT, WITHOUT ROWID;
