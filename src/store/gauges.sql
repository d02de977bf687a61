SELECT
    (SELECT count(*) FROM segments) AS segments,
    (SELECT CAST(coalesce(sum(bytes), 0) AS bigint) FROM segments) AS segment_bytes,
    (SELECT count(DISTINCT day) FROM dirty_partitions) AS dirty_partitions,
    (SELECT count(*) FROM service_progress WHERE dirty_from IS NOT NULL) AS dirty_services,
    (SELECT max(period) FROM service_usage WHERE period_type = 'Daily') AS rows_through,
    -- Those that were not read to their end later, under the same name.
    (SELECT count(*) FROM inputs i WHERE state = 'failed' AND NOT EXISTS
        (SELECT 1 FROM inputs later WHERE later.name = i.name AND later.id > i.id AND later.state = 'done')) AS inputs_failed,
    (SELECT count(*) FROM period_locks WHERE unlocked_commit IS NULL) AS locked_months,
    (SELECT count(*) FROM usage_pending) AS pending_rows,
    (SELECT count(*) FROM usage_history) AS restatements,
    (SELECT epoch FROM lease) AS epoch,
    (SELECT commits FROM lease) AS commits
