-- As in SQLite: facts by spans of a month, into which those by month are cut when the store is opened; and the newest span of
-- each service, with what its month amounts to before it.
ALTER TABLE service_months RENAME TO service_spans;
ALTER TABLE service_spans RENAME COLUMN month TO span;
ALTER INDEX service_months_pkey RENAME TO service_spans_pkey;
INSERT INTO settings SELECT 'facts_by_month', 'yes' WHERE EXISTS (SELECT 1 FROM service_spans);

ALTER TABLE service_progress ADD COLUMN newest_span bytea NOT NULL DEFAULT '\x00';
