SELECT
    (SELECT count(*) FROM inputs) AS inputs,
    -- Those that were not read to their end later, under the same name.
    (SELECT count(*) FROM inputs i WHERE state = 'reading' AND NOT EXISTS
        (SELECT 1 FROM inputs later WHERE later.name = i.name AND later.id > i.id AND later.state = 'done')) AS inputs_reading,
    (SELECT count(*) FROM inputs i WHERE state = 'failed' AND NOT EXISTS
        (SELECT 1 FROM inputs later WHERE later.name = i.name AND later.id > i.id AND later.state = 'done')) AS inputs_failed,
    (SELECT count(*) FROM segments) AS segments,
    (SELECT CAST(coalesce(sum(bytes), 0) AS bigint) FROM segments) AS segment_bytes,
    (SELECT CAST(coalesce(sum(rows), 0) AS bigint) FROM segment_partitions WHERE bare) AS bare_lines,
    (SELECT min(day) FROM segment_partitions) AS first_day,
    (SELECT max(day) FROM segment_partitions) AS last_day,
    (SELECT count(DISTINCT day) FROM dirty_partitions) AS dirty_partitions,
    (SELECT count(*) FROM service_progress WHERE dirty_from IS NOT NULL) AS dirty_services,
    (SELECT count(*) FROM service_progress WHERE first_day IS NOT NULL) AS services,
    (SELECT count(*) FROM service_usage WHERE period_type = 'Daily') AS daily_rows,
    (SELECT count(*) FROM service_usage WHERE period_type = 'Monthly') AS monthly_rows,
    (SELECT max(period) FROM service_usage WHERE period_type = 'Daily') AS rows_through,
    (SELECT max(computed_at) FROM service_usage) AS computed_at,
    (SELECT count(*) FROM service_usage WHERE clamped AND period_type = 'Daily') AS clamped_rows,
    (SELECT count(*) FROM period_locks WHERE unlocked_commit IS NULL) AS locked_months,
    (SELECT count(*) FROM usage_pending) AS pending_rows,
    (SELECT count(DISTINCT service_guid) FROM usage_pending) AS pending_services,
    (SELECT count(*) FROM service_progress p WHERE first_day IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM service_entries d WHERE d.service_guid = p.service_guid)) AS services_without_entry,
    (SELECT count(*) FROM api_keys WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $1)) AS active_keys
