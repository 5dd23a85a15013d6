-- What the caller calls its request, to find events by. This file never changes: a change is the
-- next file.

-- NULL where it did not say. Nothing is rewritten, and there is no index: a stretch of time is
-- looked through.
ALTER TABLE pmmds_store.prediction_logs ADD COLUMN correlation_id text;

CREATE OR REPLACE VIEW pmmds_store.predictions AS
    SELECT e.at, e.id, coalesce(e.request_id, e.id) AS request_id, v.model, v.version,
        e.prediction, e.score, e.latency_us, o.outcome, e.correlation_id
    FROM pmmds_store.prediction_logs e
    JOIN pmmds_store.model_versions v ON v.id = e.model_version
    LEFT JOIN pmmds_store.outcomes o ON o.request_id = coalesce(e.request_id, e.id);
