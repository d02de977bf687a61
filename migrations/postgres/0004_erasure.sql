-- Segments that the database did not know, and were adopted: each input whose lines they hold is one of a kind of its own.
ALTER TABLE inputs DROP CONSTRAINT inputs_kind_check;
ALTER TABLE inputs ADD CONSTRAINT inputs_kind_check CHECK (kind IN ('file', 'inbox', 'stdin', 'import', 'adopted'));
