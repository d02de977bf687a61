-- The number of the last leased commit: where the outcome of one is unknown, it is looked up here.
ALTER TABLE lease ADD COLUMN commits INTEGER NOT NULL DEFAULT 0;

-- As the statements that are shared with PostgreSQL have it.
DROP INDEX service_usage_clamped;
CREATE INDEX service_usage_clamped ON service_usage (period) WHERE clamped;

-- Views for readers (docs/sql-views.md) ----------------------------------------------------------------------------------

ALTER TABLE service_directory RENAME TO service_entries;

CREATE VIEW service_directory AS
SELECT lower(hex(service_guid)) AS service_guid,
    document ->> 'name' AS name,
    status,
    document ->> 'serviceCode' AS service_code,
    document ->> 'referenceId' AS reference_id,
    document ->> 'primaryDomain' AS primary_domain,
    created_on,
    document ->> 'trialEndDate' AS trial_end_date,
    document ->> 'effectiveDate' AS effective_date,
    document ->> 'initialTerm' AS initial_term,
    replace(document ->> 'collectionGuid', '-', '') AS collection_guid,
    document ->> 'collectionName' AS collection_name,
    replace(document ->> 'clientGuid', '-', '') AS client_guid,
    replace(document ->> 'resellerGuid', '-', '') AS reseller_guid,
    document ->> 'resellerName' AS reseller_name,
    replace(document ->> 'partnerGuid', '-', '') AS partner_guid,
    document ->> 'partnerName' AS partner_name,
    document ->> '$.contact.name' AS contact_name,
    document ->> '$.contact.email' AS contact_email,
    document ->> '$.contact.phoneNumber' AS contact_phone_number,
    document ->> '$.company.name' AS company_name,
    document ->> '$.company.address' AS company_address,
    document ->> '$.company.city' AS company_city,
    document ->> '$.company.stateProvince' AS company_state_province,
    document ->> '$.company.postalCode' AS company_postal_code,
    document ->> '$.company.country' AS company_country,
    document ->> '$.company.website' AS company_website
FROM service_entries;

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
