-- What rows were before, when and why they changed, months that are locked, and which job did what: as in migrations/sqlite,
-- which says what the tables are for.

ALTER TABLE service_usage ADD COLUMN since bigint NOT NULL DEFAULT 0;

CREATE TABLE row_commits (
    at     bigint PRIMARY KEY,
    number bigint NOT NULL
);

CREATE TABLE usage_history (
    service_guid uuid NOT NULL,
    period_type  text COLLATE "C" NOT NULL,
    period       text COLLATE "C" NOT NULL,
    total_user_count         bigint NOT NULL,
    pro_user_count           bigint NOT NULL,
    guest_user_count         bigint NOT NULL,
    disabled_user_count      bigint NOT NULL,
    unregistered_user_count  bigint NOT NULL,
    feature_usage_secure_messaging_gateway bigint NOT NULL,
    feature_usage_secure_messaging_plus    bigint NOT NULL,
    feature_usage_data_leak_prevention     bigint NOT NULL,
    feature_usage_secure_large_files       bigint NOT NULL,
    feature_usage_secure_forms             bigint NOT NULL,
    total_message_count      bigint NOT NULL,
    total_attachment_count   bigint NOT NULL,
    attachment_storage_usage bigint NOT NULL,
    event_count  bigint NOT NULL,
    input_digest bytea NOT NULL,
    clamped      boolean NOT NULL,
    revision     bigint NOT NULL,
    state        text NOT NULL CHECK (state IN ('closed', 'restated', 'absent')),
    computed_at  timestamptz NOT NULL,
    closes_at    timestamptz NOT NULL,
    since        bigint NOT NULL,
    until        bigint NOT NULL,
    replaced_at  timestamptz NOT NULL,
    reason       text NOT NULL CHECK (reason IN ('backfill', 'late', 'conflict', 'void')),
    run          bigint NOT NULL,
    PRIMARY KEY (service_guid, period_type, period, until)
);
-- What stood at an instant is what was replaced later.
CREATE INDEX usage_history_until ON usage_history (until);

CREATE TABLE usage_tombstones (
    service_guid uuid NOT NULL,
    period_type  text COLLATE "C" NOT NULL,
    period       text COLLATE "C" NOT NULL,
    revision     bigint NOT NULL,
    closes_at    timestamptz NOT NULL,
    since        bigint NOT NULL,
    PRIMARY KEY (service_guid, period_type, period)
);

CREATE TABLE job_runs (
    id         bigint PRIMARY KEY,
    job        text NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at   timestamptz,
    outcome    text CHECK (outcome IN ('done', 'failed', 'interrupted'))
);

ALTER TABLE dirty_partitions ADD COLUMN by_backfill boolean NOT NULL DEFAULT false;

ALTER TABLE service_progress ADD COLUMN dirty_reason bigint;

CREATE TABLE period_locks (
    month           text COLLATE "C" NOT NULL,
    locked_commit   bigint NOT NULL,
    locked_at       timestamptz NOT NULL,
    unlocked_commit bigint,
    unlocked_at     timestamptz,
    PRIMARY KEY (month, locked_commit)
);

CREATE TABLE usage_pending (
    month        text COLLATE "C" NOT NULL,
    service_guid uuid NOT NULL,
    period_type  text COLLATE "C" NOT NULL,
    period       text COLLATE "C" NOT NULL,
    gone         boolean NOT NULL,
    total_user_count         bigint NOT NULL,
    pro_user_count           bigint NOT NULL,
    guest_user_count         bigint NOT NULL,
    disabled_user_count      bigint NOT NULL,
    unregistered_user_count  bigint NOT NULL,
    feature_usage_secure_messaging_gateway bigint NOT NULL,
    feature_usage_secure_messaging_plus    bigint NOT NULL,
    feature_usage_data_leak_prevention     bigint NOT NULL,
    feature_usage_secure_large_files       bigint NOT NULL,
    feature_usage_secure_forms             bigint NOT NULL,
    total_message_count      bigint NOT NULL,
    total_attachment_count   bigint NOT NULL,
    attachment_storage_usage bigint NOT NULL,
    event_count  bigint NOT NULL,
    input_digest bytea NOT NULL,
    clamped      boolean NOT NULL,
    reason       bigint NOT NULL,
    PRIMARY KEY (month, service_guid, period_type, period)
);

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

CREATE OR REPLACE VIEW service_usage_daily AS
SELECT
    service_guid, period, total_user_count, pro_user_count, guest_user_count, disabled_user_count,
    unregistered_user_count, feature_usage_secure_messaging_gateway, feature_usage_secure_messaging_plus,
    feature_usage_data_leak_prevention, feature_usage_secure_large_files, feature_usage_secure_forms,
    total_message_count, total_attachment_count, attachment_storage_usage, event_count, revision,
    CASE WHEN EXISTS (SELECT 1 FROM period_locks WHERE month = substr(period, 1, 7) || '-01' AND unlocked_commit IS NULL)
        THEN 'locked' ELSE state END AS state,
    computed_at
FROM service_usage WHERE period_type = 'Daily';

CREATE OR REPLACE VIEW service_usage_monthly AS
SELECT
    service_guid, period, total_user_count, pro_user_count, guest_user_count, disabled_user_count,
    unregistered_user_count, feature_usage_secure_messaging_gateway, feature_usage_secure_messaging_plus,
    feature_usage_data_leak_prevention, feature_usage_secure_large_files, feature_usage_secure_forms,
    total_message_count, total_attachment_count, attachment_storage_usage, event_count, revision,
    CASE WHEN EXISTS (SELECT 1 FROM period_locks WHERE month = substr(period, 1, 7) || '-01' AND unlocked_commit IS NULL)
        THEN 'locked' ELSE state END AS state,
    computed_at
FROM service_usage WHERE period_type = 'Monthly';
