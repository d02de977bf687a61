-- As in SQLite: histories of users that changed lately, until they are many. They stand before those in `users`.
ALTER TABLE service_progress ADD COLUMN recent_users bytea NOT NULL DEFAULT '\x00';

CREATE TABLE first_closings (
    period_type text NOT NULL,
    period      text NOT NULL,
    closes_at   timestamptz NOT NULL,
    PRIMARY KEY (period_type, period)
);
CREATE INDEX first_closings_closes_at ON first_closings (closes_at);
INSERT INTO first_closings
SELECT period_type, period,
    min(CASE WHEN state IN ('open', 'settling') THEN closes_at ELSE timestamptz '1970-01-01T00:00:00Z' END)
FROM service_usage GROUP BY period_type, period;
