-- Files where segments lie that are not part of the log, and are to be removed: they were replaced, or were to replace others
-- and did not come to it. They are noted before they are there, so none of them is ever taken for an orphan.
CREATE TABLE discarded_segments (
    segment_id BLOB PRIMARY KEY NOT NULL,
    path       TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The days of a segment, for whoever replaces it.
CREATE INDEX segment_partitions_segment ON segment_partitions (segment_id);
