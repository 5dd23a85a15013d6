-- One event per request, where that is asked for; and when the log was last seen to. This file never
-- changes: a change is the next file.

ALTER TABLE pmmds_store.settings
    -- request_ids has every request that the log has, and no second event of one is written
    ADD COLUMN unique_request_ids boolean NOT NULL DEFAULT false,
    -- partitions, roll-ups and retention were last seen to
    ADD COLUMN maintained_at timestamptz NOT NULL DEFAULT clock_timestamp();

-- The requests of the log, where each is kept once; empty elsewhere. Purged with their events.
CREATE TABLE pmmds_store.request_ids (
    request_id uuid NOT NULL,
    model text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (request_id, model)
);

CREATE INDEX request_ids_by_time ON pmmds_store.request_ids
    USING brin (at timestamptz_minmax_multi_ops) WITH (pages_per_range = 32, autosummarize = on);
