-- Segments that the database did not know, and were adopted: each input whose lines they hold is one of a kind of its own.
ALTER TABLE inputs DROP CONSTRAINT inputs_kind_check;
ALTER TABLE inputs ADD CONSTRAINT inputs_kind_check CHECK (kind IN ('file', 'inbox', 'stdin', 'import', 'adopted'));

-- Users whose personal data was erased, and keyed hashes of their e-mail addresses (docs/erasure.md). An erasure that has no end
-- was cut short, and is gone on with before anything else arrives.
CREATE TABLE erased_users (
    user_guid uuid PRIMARY KEY,
    begun_at  timestamptz NOT NULL,
    ended_at  timestamptz
);

CREATE TABLE erased_emails (
    hash bytea PRIMARY KEY
);

-- Contents that share identity and time, and of which one is masked: in which order they came before that. The key is a hash of
-- identity and content (model::content_key).
CREATE TABLE content_orders (
    day  integer NOT NULL,
    key  bytea NOT NULL,
    rank bigint NOT NULL,
    PRIMARY KEY (day, key)
);
