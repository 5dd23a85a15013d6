-- The log and the ledger, in a schema of their own: the tables of others in the same database keep
-- their names, and their rows. This file never changes: a change is the next file.

-- What holds for the whole database. One row.
CREATE TABLE pmmds_store.settings (
    id boolean PRIMARY KEY DEFAULT true CHECK (id),
    -- width of the roll-ups, in microseconds since 1970 a multiple of it begins each
    bucket_us bigint NOT NULL CHECK (bucket_us > 0),
    -- roll-ups from before were removed, and events that are left are counted one by one
    counted_from timestamptz NOT NULL DEFAULT '-infinity',
    -- raw features from before were removed, some of them before their events
    features_from timestamptz NOT NULL DEFAULT '-infinity'
);

-- What every event would otherwise repeat: the model, its version, and the profile of the codes.
CREATE TABLE pmmds_store.model_versions (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model text NOT NULL,
    version bigint NOT NULL,
    profile bytea NOT NULL,
    UNIQUE (model, version, profile)
);

-- One row per batch: what makes a batch that is sent again known, and its roll-up.
CREATE TABLE pmmds_store.ingest_batches (
    batch_id uuid PRIMARY KEY,
    model_version integer NOT NULL REFERENCES pmmds_store.model_versions,
    events integer NOT NULL,
    -- of its events; when it was written, where it has none
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    written_at timestamptz NOT NULL,
    -- the bucket that all of it lies in; NULL where there are several
    bucket timestamptz,
    -- rows per slot, column after column; empty without events. NULL once they are added up in
    -- feature_histograms, the summary too
    counts bigint[],
    -- summaries and rejections; NULL once an event was purged
    summary json
);

CREATE INDEX ingest_batches_in_window ON pmmds_store.ingest_batches (model_version, first_at);
CREATE INDEX ingest_batches_by_time ON pmmds_store.ingest_batches (first_at);
CREATE INDEX ingest_batches_to_add_up ON pmmds_store.ingest_batches (bucket, model_version)
    WHERE counts IS NOT NULL;

-- Roll-ups of whole buckets. Several rows of one bucket add up.
CREATE TABLE pmmds_store.feature_histograms (
    model_version integer NOT NULL,
    bucket timestamptz NOT NULL,
    events bigint NOT NULL,
    counts bigint[] NOT NULL,
    summary json
);

CREATE INDEX feature_histograms_in_window ON pmmds_store.feature_histograms (model_version, bucket);
CREATE INDEX feature_histograms_by_time ON pmmds_store.feature_histograms (bucket);

-- The events. Wide columns first, so that nothing is spent on alignment.
CREATE TABLE pmmds_store.prediction_logs (
    at timestamptz NOT NULL,
    id uuid NOT NULL,
    score double precision NOT NULL,
    latency_us bigint NOT NULL,
    -- NULL: the sender gave none, and it is the id
    request_id uuid,
    model_version integer NOT NULL,
    -- NULL where the answer is a number and no class
    prediction smallint,
    -- 1: raw features were kept
    flags smallint NOT NULL,
    -- a byte per feature, then one for the score
    codes bytea NOT NULL
) PARTITION BY RANGE (at);

-- Per day a partition is made ahead; what is of no such day is in this one.
CREATE TABLE pmmds_store.prediction_logs_default PARTITION OF pmmds_store.prediction_logs DEFAULT;

CREATE INDEX prediction_logs_by_time ON pmmds_store.prediction_logs
    USING brin (at timestamptz_minmax_multi_ops) WITH (pages_per_range = 32, autosummarize = on);

-- Raw features, where the owner keeps them, in the order that finds the first event of a request.
CREATE TABLE pmmds_store.prediction_features (
    request_id uuid NOT NULL,
    at timestamptz NOT NULL,
    id uuid NOT NULL,
    model_version integer NOT NULL,
    -- JSON, as it was given
    features text NOT NULL,
    PRIMARY KEY (request_id, at, id)
);

CREATE INDEX prediction_features_by_time ON pmmds_store.prediction_features
    USING brin (at timestamptz_minmax_multi_ops) WITH (pages_per_range = 32, autosummarize = on);

CREATE TABLE pmmds_store.outcomes (
    request_id uuid PRIMARY KEY,
    outcome double precision NOT NULL,
    observed_at timestamptz NOT NULL
);

CREATE INDEX outcomes_by_time ON pmmds_store.outcomes (observed_at);

-- For people: the log with names.
CREATE VIEW pmmds_store.predictions AS
    SELECT e.at, e.id, coalesce(e.request_id, e.id) AS request_id, v.model, v.version,
        e.prediction, e.score, e.latency_us, o.outcome
    FROM pmmds_store.prediction_logs e
    JOIN pmmds_store.model_versions v ON v.id = e.model_version
    LEFT JOIN pmmds_store.outcomes o ON o.request_id = coalesce(e.request_id, e.id);

-- The ledger: what is looked up is a column, the whole record is JSON beside it. json and not
-- jsonb: numbers come back as they were written.

CREATE TABLE pmmds_store.drift_metrics (
    id uuid PRIMARY KEY,
    model text NOT NULL,
    version bigint NOT NULL,
    window_start timestamptz NOT NULL,
    window_end timestamptz NOT NULL,
    profile bytea NOT NULL,
    created_at timestamptz NOT NULL,
    record json NOT NULL,
    UNIQUE (model, version, window_start, window_end, profile)
);

CREATE INDEX drift_metrics_by_time ON pmmds_store.drift_metrics (model, created_at, id);

CREATE TABLE pmmds_store.reference_datasets (
    name text PRIMARY KEY,
    model text NOT NULL,
    created_at timestamptz NOT NULL,
    record json NOT NULL
);

CREATE INDEX reference_datasets_by_time ON pmmds_store.reference_datasets (model, created_at, name);

CREATE TABLE pmmds_store.drift_alerts (
    id uuid PRIMARY KEY,
    model text NOT NULL,
    version bigint NOT NULL,
    key text NOT NULL,
    opened_at timestamptz NOT NULL,
    resolved_at timestamptz,
    record json NOT NULL
);

CREATE UNIQUE INDEX drift_alerts_open
    ON pmmds_store.drift_alerts (model, version, key) WHERE resolved_at IS NULL;
CREATE INDEX drift_alerts_by_time ON pmmds_store.drift_alerts (model, opened_at, id);

CREATE TABLE pmmds_store.retraining_runs (
    id uuid PRIMARY KEY,
    model text NOT NULL,
    state text NOT NULL,
    started_at timestamptz NOT NULL,
    record json NOT NULL
);

CREATE INDEX retraining_runs_by_time ON pmmds_store.retraining_runs (model, started_at, id);

CREATE TABLE pmmds_store.promotion_decisions (
    id uuid PRIMARY KEY,
    model text NOT NULL,
    state text NOT NULL,
    created_at timestamptz NOT NULL,
    record json NOT NULL
);

CREATE INDEX promotion_decisions_by_time ON pmmds_store.promotion_decisions (model, created_at, id);

-- The last lease of each name. One that was given back has an end that has passed, so that its
-- token is not given again. Token 0 is nobody's yet.
CREATE TABLE pmmds_store.leases (
    name text PRIMARY KEY,
    owner text NOT NULL,
    token bigint NOT NULL,
    expires_at timestamptz NOT NULL
);

-- Work that is done once per slot, whoever does it: the attempt is the fencing token.
CREATE TABLE pmmds_store.job_runs (
    job text NOT NULL,
    slot timestamptz NOT NULL,
    attempt integer NOT NULL,
    state text NOT NULL CHECK (state IN ('running', 'done', 'failed')),
    owner text NOT NULL,
    lease_until timestamptz NOT NULL,
    result text,
    PRIMARY KEY (job, slot)
);
