-- Files that are to be removed, and a segment's days: as in migrations/sqlite, which says what they are for.

CREATE TABLE discarded_segments (
    segment_id uuid PRIMARY KEY,
    path       text NOT NULL
);

CREATE INDEX segment_partitions_segment ON segment_partitions (segment_id);
