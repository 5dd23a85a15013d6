-- The log and the ledger. Times are microseconds since 1970-01-01T00:00:00Z, ids the 16 bytes of a
-- UUID, fingerprints the 32 bytes of a SHA-256. This file never changes: a change is the next file.

-- Names and fingerprints that every event would otherwise repeat.

CREATE TABLE log_models (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE log_profiles (
    id INTEGER PRIMARY KEY,
    fingerprint BLOB NOT NULL UNIQUE
) STRICT;

-- One row per batch: what makes a batch that is sent again known, and the roll-up of what its
-- codes do not tell.
CREATE TABLE ingest_batches (
    id INTEGER PRIMARY KEY,
    batch_id BLOB NOT NULL UNIQUE,
    model INTEGER NOT NULL REFERENCES log_models (id),
    version INTEGER NOT NULL,
    profile INTEGER NOT NULL REFERENCES log_profiles (id),
    events INTEGER NOT NULL,
    -- of its events; when it was written, where it has none
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    written_at INTEGER NOT NULL,
    -- JSON: summaries and rejections; NULL once an event was purged
    summary TEXT
) STRICT;

CREATE INDEX ingest_batches_in_window
    ON ingest_batches (model, version, profile, first_at);
CREATE INDEX ingest_batches_by_time ON ingest_batches (first_at);

-- The events, in the order in which windows read them: there is no other index to keep.
CREATE TABLE prediction_logs (
    model INTEGER NOT NULL,
    at INTEGER NOT NULL,
    id BLOB NOT NULL,
    request_id BLOB NOT NULL,
    batch INTEGER NOT NULL,
    version INTEGER NOT NULL,
    profile INTEGER NOT NULL,
    score REAL NOT NULL,
    label INTEGER NOT NULL,
    latency_us INTEGER NOT NULL,
    has_features INTEGER NOT NULL,
    codes BLOB NOT NULL,
    PRIMARY KEY (model, at, id)
) STRICT, WITHOUT ROWID;

-- Raw features, where the owner keeps them, in the order that finds the first event of a request.
CREATE TABLE prediction_features (
    model INTEGER NOT NULL,
    request_id BLOB NOT NULL,
    at INTEGER NOT NULL,
    id BLOB NOT NULL,
    -- JSON, as it was given
    features TEXT NOT NULL,
    PRIMARY KEY (model, request_id, at, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE outcomes (
    request_id BLOB PRIMARY KEY,
    outcome REAL NOT NULL,
    observed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX outcomes_by_time ON outcomes (observed_at);

-- The ledger: what is looked up is a column, the whole record is JSON beside it.

CREATE TABLE drift_metrics (
    id BLOB NOT NULL UNIQUE,
    model TEXT NOT NULL,
    version INTEGER NOT NULL,
    window_start INTEGER NOT NULL,
    window_end INTEGER NOT NULL,
    profile BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    record TEXT NOT NULL,
    UNIQUE (model, version, window_start, window_end, profile)
) STRICT;

CREATE INDEX drift_metrics_by_time ON drift_metrics (model, created_at, id);

CREATE TABLE reference_datasets (
    name TEXT NOT NULL UNIQUE,
    model TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    record TEXT NOT NULL
) STRICT;

CREATE INDEX reference_datasets_by_time ON reference_datasets (model, created_at, name);

CREATE TABLE drift_alerts (
    id BLOB NOT NULL UNIQUE,
    model TEXT NOT NULL,
    version INTEGER NOT NULL,
    key TEXT NOT NULL,
    opened_at INTEGER NOT NULL,
    resolved_at INTEGER,
    record TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX drift_alerts_open
    ON drift_alerts (model, version, key) WHERE resolved_at IS NULL;
CREATE INDEX drift_alerts_by_time ON drift_alerts (model, opened_at, id);

CREATE TABLE retraining_runs (
    id BLOB NOT NULL UNIQUE,
    model TEXT NOT NULL,
    state TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    record TEXT NOT NULL
) STRICT;

CREATE INDEX retraining_runs_by_time ON retraining_runs (model, started_at, id);

CREATE TABLE promotion_decisions (
    id BLOB NOT NULL UNIQUE,
    model TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    record TEXT NOT NULL
) STRICT;

CREATE INDEX promotion_decisions_by_time ON promotion_decisions (model, created_at, id);

-- The last lease of each name. One that was given back has an end that has passed, so that its
-- token is not given again.
CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    token INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
