-- Facts are kept by spans of a month, so that a new day's commit need not write all of its month (rollup::SpanFacts). What is
-- here by month is cut up when the store is opened (store::months); until then a setting says so.
ALTER TABLE service_months RENAME TO service_spans;
ALTER TABLE service_spans RENAME COLUMN month TO span;
INSERT INTO settings SELECT 'facts_by_month', 'yes' WHERE EXISTS (SELECT 1 FROM service_spans);

-- The newest span with days, and what its month amounts to before it (rollup::SpanStart). The default is that it is not known.
ALTER TABLE service_progress ADD COLUMN newest_span BLOB NOT NULL DEFAULT x'00';
