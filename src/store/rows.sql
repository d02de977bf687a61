ON CONFLICT (period_type, period, service_guid) DO UPDATE SET
    ({numbers}, event_count, input_digest, clamped, computed_at)
        = ({excluded.numbers}, excluded.event_count, excluded.input_digest, excluded.clamped, excluded.computed_at),
    revision = stored.revision + CASE WHEN ({stored.numbers}) <> ({excluded.numbers}) THEN 1 ELSE 0 END,
    since = CASE WHEN ({stored.numbers}) <> ({excluded.numbers}) THEN excluded.since ELSE stored.since END,
    state = CASE
        WHEN stored.state IN ('open', 'settling') AND stored.closes_at > excluded.computed_at
            THEN CASE excluded.state WHEN 'open' THEN 'open' ELSE 'settling' END
        WHEN ({stored.numbers}) <> ({excluded.numbers}) THEN 'restated'
        WHEN stored.state = 'restated' THEN 'restated'
        ELSE 'closed' END
WHERE ({stored.numbers}, stored.event_count, stored.input_digest, stored.clamped)
    <> ({excluded.numbers}, excluded.event_count, excluded.input_digest, excluded.clamped)
