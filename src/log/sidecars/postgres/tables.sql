-- Numbers ascend in about the order of puts.
CREATE SEQUENCE sidecar_numbers;

CREATE TABLE sidecars (
    leaf bytea NOT NULL,
    number bigint NOT NULL DEFAULT nextval('sidecar_numbers'),
    put_ms bigint NOT NULL,
    event_id uuid NOT NULL,
    emitter text NOT NULL,
    -- All pieces in one, as codec.rs has them. Encrypted: nothing to compress.
    pieces bytea NOT NULL,
    PRIMARY KEY (leaf)
) PARTITION BY HASH (leaf);
ALTER TABLE sidecars ALTER pieces SET STORAGE EXTERNAL;

-- What was purged since a part was written anew the last time: noted in the purge's own transaction.
CREATE TABLE sidecar_scrubs (
    part text PRIMARY KEY,
    purges bigint NOT NULL,
    scrubbed bigint NOT NULL DEFAULT 0,
    newest xid8 NOT NULL
);

DO $$
BEGIN
    FOR n IN 0..31 LOOP
        -- Looked after early: what is vacuumed rarely is vacuumed long.
        EXECUTE format('CREATE TABLE sidecars_%s PARTITION OF sidecars FOR VALUES WITH (MODULUS 32, REMAINDER %s) '
                       'WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_insert_scale_factor = 0.02)',
                       lpad(n::text, 2, '0'), n);
        -- The planner's statistics would keep samples of what is purged later.
        EXECUTE format('ALTER TABLE sidecars_%s ALTER pieces SET STATISTICS 0, ALTER event_id SET STATISTICS 0, '
                       'ALTER leaf SET STATISTICS 0', lpad(n::text, 2, '0'));
    END LOOP;
END
$$;

ALTER TABLE sidecars ALTER pieces SET STATISTICS 0, ALTER event_id SET STATISTICS 0, ALTER leaf SET STATISTICS 0;

-- BRIN would be smaller, but finds nothing quickly before it was summarised, and costs a put nearly as much.
CREATE INDEX sidecars_number ON sidecars (number);
