-- The store, as in migrations/sqlite, which says what the tables are for; here is said what is different.
-- GUIDs are uuid, days are days since 1970, and instants are to the second.

CREATE TABLE settings (
    name  text PRIMARY KEY,
    value text NOT NULL
);

CREATE TABLE lease (
    id          integer PRIMARY KEY CHECK (id = 1),
    epoch       bigint NOT NULL,
    holder      text NOT NULL,
    acquired_at timestamptz,
    commits     bigint NOT NULL
);
INSERT INTO lease VALUES (1, 0, 'nobody', NULL, 0);

-- Ingest -------------------------------------------------------------------------------------------------------------

CREATE TABLE inputs (
    id          bigint PRIMARY KEY,
    name        text NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('file', 'inbox', 'stdin', 'import')),
    state       text NOT NULL CHECK (state IN ('reading', 'done', 'failed')),
    signature   text NOT NULL,
    next_offset bigint NOT NULL,
    next_line   bigint NOT NULL,
    lines       bigint NOT NULL,
    accepted    bigint NOT NULL,
    rejected    bigint NOT NULL,
    duplicate   bigint NOT NULL DEFAULT 0,
    voided      bigint NOT NULL DEFAULT 0,
    conflicting bigint NOT NULL DEFAULT 0,
    changed_at  timestamptz NOT NULL,
    run_ended   boolean NOT NULL DEFAULT false,
    CHECK (lines = accepted + rejected)
);
-- By hash, for a path can be longer than what an index takes.
CREATE INDEX inputs_name ON inputs USING hash (name);

CREATE TABLE segments (
    id         uuid PRIMARY KEY,
    path       text NOT NULL UNIQUE,
    rows       bigint NOT NULL,
    bytes      bigint NOT NULL,
    hash       bytea NOT NULL,
    end_at     bigint NOT NULL,
    end_hash   bytea NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE segment_partitions (
    day        integer NOT NULL,
    segment_id uuid NOT NULL REFERENCES segments (id),
    first_row  bigint NOT NULL,
    rows       bigint NOT NULL,
    PRIMARY KEY (day, segment_id)
);

-- What stands in a line may have any character in it. Text can't hold U+0000, so it is kept as bytes of UTF-8: here, and in
-- voids.
CREATE TABLE dead_letters (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    input_id    bigint NOT NULL REFERENCES inputs (id),
    line        bigint NOT NULL,
    byte_offset bigint NOT NULL,
    reason      text NOT NULL,
    member      bytea NOT NULL,
    detail      bytea NOT NULL,
    content     bytea NOT NULL,
    length      bigint NOT NULL,
    hash        bytea NOT NULL,
    rejected_at timestamptz NOT NULL
);
CREATE INDEX dead_letters_reason ON dead_letters (reason, id);

CREATE TABLE voids (
    target_day   integer NOT NULL,
    service_guid uuid NOT NULL,
    target_time  bigint NOT NULL,
    source       bytea NOT NULL,
    id           bytea NOT NULL
);
-- Identities can be longer than what an index takes, so they are told apart by their hashes there.
CREATE UNIQUE INDEX voids_target ON voids (target_day, service_guid, target_time, sha256(source), sha256(id));

-- Facts ----------------------------------------------------------------------------------------------------------------

-- The mark of a whole day has no bytes in place of the GUID.
CREATE TABLE dirty_partitions (
    day          integer NOT NULL,
    service_guid bytea NOT NULL,
    PRIMARY KEY (day, service_guid)
);

CREATE TABLE service_months (
    month        integer NOT NULL,
    service_guid uuid NOT NULL,
    facts        bytea NOT NULL,
    PRIMARY KEY (month, service_guid)
);

CREATE TABLE users (
    service_guid uuid NOT NULL,
    user_guid    uuid NOT NULL,
    history      bytea NOT NULL,
    PRIMARY KEY (service_guid, user_guid)
);

CREATE TABLE service_progress (
    service_guid uuid PRIMARY KEY,
    first_day    integer,
    held         bytea NOT NULL,
    rows_from    integer,
    rows_through integer,
    dirty_from   integer
);
-- What has to be drawn: services that are dirty, and those whose rows don't reach today.
CREATE INDEX service_progress_dirty ON service_progress (dirty_from) WHERE dirty_from IS NOT NULL;
CREATE INDEX service_progress_behind ON service_progress (coalesce(rows_through, first_day - 1));

-- The directory --------------------------------------------------------------------------------------------------------

CREATE TABLE service_patches (
    service_guid uuid NOT NULL,
    day          integer NOT NULL,
    position     bigint NOT NULL,
    time         bigint NOT NULL,
    patch        text NOT NULL,
    PRIMARY KEY (service_guid, day, position)
);

CREATE TABLE service_entries (
    service_guid  uuid PRIMARY KEY,
    status        text NOT NULL,
    created_on    text COLLATE "C" NOT NULL,
    reseller_guid uuid,
    partner_guid  uuid,
    document      text NOT NULL
);
CREATE INDEX service_entries_created ON service_entries (created_on, service_guid);

-- Rows -----------------------------------------------------------------------------------------------------------------

-- The period is text, as in SQLite: a query for the one store is a query for the other.
--
-- Rows lie in the order in which they were written, so an export, which is by service, needs an index that is, too. By period
-- are written states, and read whole periods. Not partitioned by month: measured on 1.8 million rows it writes no faster than
-- 5 % and exports no faster, while a single row takes longer to find, and each new month would be DDL among the writes.
CREATE TABLE service_usage (
    service_guid uuid NOT NULL,
    period_type  text COLLATE "C" NOT NULL,
    period       text COLLATE "C" NOT NULL,
    total_user_count        bigint NOT NULL,
    pro_user_count          bigint NOT NULL,
    guest_user_count        bigint NOT NULL,
    disabled_user_count     bigint NOT NULL,
    unregistered_user_count bigint NOT NULL,
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
    state        text NOT NULL,
    computed_at  timestamptz NOT NULL,
    closes_at    timestamptz NOT NULL,
    PRIMARY KEY (period_type, service_guid, period),
    CHECK (total_user_count = pro_user_count + guest_user_count + disabled_user_count + unregistered_user_count)
);
CREATE INDEX service_usage_period ON service_usage (period_type, period);
CREATE INDEX service_usage_clamped ON service_usage (period) WHERE clamped;

CREATE TABLE state_changes (
    due_at      timestamptz NOT NULL,
    period_type text NOT NULL,
    period      text NOT NULL,
    PRIMARY KEY (due_at, period_type, period)
);

-- Access ---------------------------------------------------------------------------------------------------------------

CREATE TABLE api_keys (
    id         text PRIMARY KEY,
    name       text NOT NULL,
    role       text NOT NULL,
    scope      uuid,
    key_hash   bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz
);

-- Views for readers (docs/sql-views.md) ----------------------------------------------------------------------------------

CREATE VIEW service_usage_daily AS
SELECT service_guid, period, total_user_count, pro_user_count, guest_user_count, disabled_user_count,
    unregistered_user_count, feature_usage_secure_messaging_gateway, feature_usage_secure_messaging_plus,
    feature_usage_data_leak_prevention, feature_usage_secure_large_files, feature_usage_secure_forms,
    total_message_count, total_attachment_count, attachment_storage_usage, event_count, revision, state, computed_at
FROM service_usage WHERE period_type = 'Daily';

CREATE VIEW service_usage_monthly AS
SELECT service_guid, period, total_user_count, pro_user_count, guest_user_count, disabled_user_count,
    unregistered_user_count, feature_usage_secure_messaging_gateway, feature_usage_secure_messaging_plus,
    feature_usage_data_leak_prevention, feature_usage_secure_large_files, feature_usage_secure_forms,
    total_message_count, total_attachment_count, attachment_storage_usage, event_count, revision, state, computed_at
FROM service_usage WHERE period_type = 'Monthly';

-- JSON can spell U+0000, which text can't hold: it is shown as U+FFFD.
CREATE VIEW service_directory AS
SELECT e.service_guid, d.name, e.status, d."serviceCode" AS service_code, d."referenceId" AS reference_id,
    d."primaryDomain" AS primary_domain, e.created_on, d."trialEndDate" AS trial_end_date,
    d."effectiveDate" AS effective_date, d."initialTerm" AS initial_term, d."collectionGuid" AS collection_guid,
    d."collectionName" AS collection_name, d."clientGuid" AS client_guid, d."resellerGuid" AS reseller_guid,
    d."resellerName" AS reseller_name, d."partnerGuid" AS partner_guid, d."partnerName" AS partner_name,
    d.contact ->> 'name' AS contact_name, d.contact ->> 'email' AS contact_email,
    d.contact ->> 'phoneNumber' AS contact_phone_number, d.company ->> 'name' AS company_name,
    d.company ->> 'address' AS company_address, d.company ->> 'city' AS company_city,
    d.company ->> 'stateProvince' AS company_state_province, d.company ->> 'postalCode' AS company_postal_code,
    d.company ->> 'country' AS company_country, d.company ->> 'website' AS company_website
FROM service_entries e CROSS JOIN LATERAL jsonb_to_record(replace(e.document, '\u0000', '\ufffd')::jsonb) AS d (
    name text, "serviceCode" text, "referenceId" text, "primaryDomain" text, "trialEndDate" text, "effectiveDate" text,
    "initialTerm" numeric, "collectionGuid" uuid, "collectionName" text, "clientGuid" uuid, "resellerGuid" uuid,
    "resellerName" text, "partnerGuid" uuid, "partnerName" text, contact jsonb, company jsonb);
