-- The histories of users that changed lately (rollup::RecentUsers), until they are many: they stand before those in `users`.
-- Kept by themselves, the few users of each service that change on a day would each cost a page. The default is an empty list.
ALTER TABLE service_progress ADD COLUMN recent_users BLOB NOT NULL DEFAULT x'00';

-- From when on a row of a period may be closed: until then none of them has to be looked at for the history.
CREATE TABLE first_closings (
    period_type TEXT NOT NULL,
    period      TEXT NOT NULL,
    closes_at   TEXT NOT NULL,
    PRIMARY KEY (period_type, period)
) STRICT, WITHOUT ROWID;
CREATE INDEX first_closings_closes_at ON first_closings (closes_at);
INSERT INTO first_closings
SELECT period_type, period,
    min(CASE WHEN state IN ('open', 'settling') THEN closes_at ELSE '1970-01-01T00:00:00Z' END)
FROM service_usage GROUP BY period_type, period;
