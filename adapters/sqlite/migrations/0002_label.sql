-- A regression has no label. NOT NULL cannot be taken off a column, so the table is made anew; the
-- pages of the old one are used again.

CREATE TABLE prediction_logs_of_2 (
    model INTEGER NOT NULL,
    at INTEGER NOT NULL,
    id BLOB NOT NULL,
    request_id BLOB NOT NULL,
    batch INTEGER NOT NULL,
    version INTEGER NOT NULL,
    profile INTEGER NOT NULL,
    score REAL NOT NULL,
    -- NULL where the score is the predicted number
    label INTEGER,
    latency_us INTEGER NOT NULL,
    has_features INTEGER NOT NULL,
    codes BLOB NOT NULL,
    PRIMARY KEY (model, at, id)
) STRICT, WITHOUT ROWID;

INSERT INTO prediction_logs_of_2
    SELECT model, at, id, request_id, batch, version, profile, score, label, latency_us,
        has_features, codes
    FROM prediction_logs ORDER BY model, at, id;

DROP TABLE prediction_logs;

ALTER TABLE prediction_logs_of_2 RENAME TO prediction_logs;
