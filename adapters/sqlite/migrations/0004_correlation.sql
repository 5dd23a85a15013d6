-- What the caller calls its request; NULL where it did not say, which is a byte.
ALTER TABLE prediction_logs ADD COLUMN correlation_id TEXT;
