-- What rows were before, when and why they changed, months that are locked, and which job did what.

-- The number of the commit that wrote the row's numbers; 0 where that was before commits were told apart.
ALTER TABLE service_usage ADD COLUMN since INTEGER NOT NULL DEFAULT 0;

-- At which instant the commits were made that wrote rows, in nanoseconds. Where the clock goes back, the instants that come
-- anew are the later commit's, so both columns grow together, and one look finds the last commit at or before an instant.
CREATE TABLE row_commits (
    at     INTEGER PRIMARY KEY NOT NULL,
    number INTEGER NOT NULL
) STRICT;

-- Versions that were served once their row was closed, and that another one followed: they stood from the commit `since` on,
-- until the commit `until`. That there was no row is a version, too (`absent`): before a late first event added one below
-- closed ones, and between a void that removed one and the event that brought it back.
CREATE TABLE usage_history (
    service_guid TEXT NOT NULL,
    period_type  TEXT NOT NULL,
    period       TEXT NOT NULL,
    total_user_count         INTEGER NOT NULL,
    pro_user_count           INTEGER NOT NULL,
    guest_user_count         INTEGER NOT NULL,
    disabled_user_count      INTEGER NOT NULL,
    unregistered_user_count  INTEGER NOT NULL,
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
    state        TEXT NOT NULL CHECK (state IN ('closed', 'restated', 'absent')),
    computed_at  TEXT NOT NULL,
    closes_at    TEXT NOT NULL,
    since        INTEGER NOT NULL,
    until        INTEGER NOT NULL,
    replaced_at  TEXT NOT NULL,
    reason       TEXT NOT NULL CHECK (reason IN ('backfill', 'late', 'conflict', 'void')),
    -- The job that replaced it.
    run          INTEGER NOT NULL,
    PRIMARY KEY (service_guid, period_type, period, until)
) STRICT, WITHOUT ROWID;

-- Rows that a void removed after they were closed: where one comes back, it goes on from this revision.
CREATE TABLE usage_tombstones (
    service_guid BLOB NOT NULL,
    period_type  TEXT NOT NULL,
    period       TEXT NOT NULL,
    revision     INTEGER NOT NULL,
    closes_at    TEXT NOT NULL,
    since        INTEGER NOT NULL,
    PRIMARY KEY (service_guid, period_type, period)
) STRICT, WITHOUT ROWID;

-- One row a job: its number is the lease's epoch. One that was killed never ends.
CREATE TABLE job_runs (
    id         INTEGER PRIMARY KEY NOT NULL,
    job        TEXT NOT NULL,
    started_at TEXT NOT NULL,
    ended_at   TEXT,
    outcome    TEXT CHECK (outcome IN ('done', 'failed', 'interrupted'))
) STRICT;

-- Whether nothing but a backfill made that day dirty.
ALTER TABLE dirty_partitions ADD COLUMN by_backfill INTEGER NOT NULL DEFAULT 0;

-- The strongest reason for which rows must be drawn anew (model::Reason).
ALTER TABLE service_progress ADD COLUMN dirty_reason INTEGER;

-- Locked months, by their first day: each lock that there was, from the commit that locked it to the one that unlocked it.
CREATE TABLE period_locks (
    month           TEXT NOT NULL,
    locked_commit   INTEGER NOT NULL,
    locked_at       TEXT NOT NULL,
    unlocked_commit INTEGER,
    unlocked_at     TEXT,
    PRIMARY KEY (month, locked_commit)
) STRICT, WITHOUT ROWID;

-- What the rows of locked months would be, where that is not what they are. The month is that of the period.
CREATE TABLE usage_pending (
    month        TEXT NOT NULL,
    service_guid TEXT NOT NULL,
    period_type  TEXT NOT NULL,
    period       TEXT NOT NULL,
    -- Whether the row would go.
    gone         INTEGER NOT NULL,
    total_user_count         INTEGER NOT NULL,
    pro_user_count           INTEGER NOT NULL,
    guest_user_count         INTEGER NOT NULL,
    disabled_user_count      INTEGER NOT NULL,
    unregistered_user_count  INTEGER NOT NULL,
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
    -- A number of model::Reason, as in service_progress.
    reason       INTEGER NOT NULL,
    PRIMARY KEY (month, service_guid, period_type, period)
) STRICT, WITHOUT ROWID;

-- What is served now, until no commit that is known, and what was served before.
CREATE VIEW usage_versions AS
SELECT
    service_guid, period_type, period, total_user_count, pro_user_count, guest_user_count, disabled_user_count,
    unregistered_user_count, feature_usage_secure_messaging_gateway, feature_usage_secure_messaging_plus,
    feature_usage_data_leak_prevention, feature_usage_secure_large_files, feature_usage_secure_forms,
    total_message_count, total_attachment_count, attachment_storage_usage, event_count, input_digest, clamped,
    revision, state, computed_at, closes_at, since, 9223372036854775807 AS until
FROM service_usage
UNION ALL
SELECT
    service_guid, period_type, period, total_user_count, pro_user_count, guest_user_count, disabled_user_count,
    unregistered_user_count, feature_usage_secure_messaging_gateway, feature_usage_secure_messaging_plus,
    feature_usage_data_leak_prevention, feature_usage_secure_large_files, feature_usage_secure_forms,
    total_message_count, total_attachment_count, attachment_storage_usage, event_count, input_digest, clamped,
    revision, state, computed_at, closes_at, since, until
FROM usage_history WHERE state <> 'absent';

-- A row of a locked month is shown as locked.
DROP VIEW service_usage_daily;
CREATE VIEW service_usage_daily AS
SELECT
    service_guid, period, total_user_count, pro_user_count, guest_user_count, disabled_user_count,
    unregistered_user_count, feature_usage_secure_messaging_gateway, feature_usage_secure_messaging_plus,
    feature_usage_data_leak_prevention, feature_usage_secure_large_files, feature_usage_secure_forms,
    total_message_count, total_attachment_count, attachment_storage_usage, event_count, revision,
    CASE WHEN EXISTS (SELECT 1 FROM period_locks WHERE month = substr(period, 1, 7) || '-01' AND unlocked_commit IS NULL)
        THEN 'locked' ELSE state END AS state,
    computed_at
FROM service_usage WHERE period_type = 'Daily';

DROP VIEW service_usage_monthly;
CREATE VIEW service_usage_monthly AS
SELECT
    service_guid, period, total_user_count, pro_user_count, guest_user_count, disabled_user_count,
    unregistered_user_count, feature_usage_secure_messaging_gateway, feature_usage_secure_messaging_plus,
    feature_usage_data_leak_prevention, feature_usage_secure_large_files, feature_usage_secure_forms,
    total_message_count, total_attachment_count, attachment_storage_usage, event_count, revision,
    CASE WHEN EXISTS (SELECT 1 FROM period_locks WHERE month = substr(period, 1, 7) || '-01' AND unlocked_commit IS NULL)
        THEN 'locked' ELSE state END AS state,
    computed_at
FROM service_usage WHERE period_type = 'Monthly';
