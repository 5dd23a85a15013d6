-- The tables of the original system, as its SQL and its ORM make them, with rows of each kind.
CREATE TABLE prediction_logs (
    id serial PRIMARY KEY, request_id uuid NOT NULL UNIQUE,
    timestamp timestamptz NOT NULL DEFAULT now(), model_name varchar(100) NOT NULL,
    model_version varchar(50) NOT NULL, prediction integer NOT NULL,
    probability double precision NOT NULL, latency_ms double precision NOT NULL,
    feature_hash varchar(64), numeric_feature_stats jsonb);
CREATE INDEX ON prediction_logs (timestamp);
INSERT INTO prediction_logs (request_id, timestamp, model_name, model_version, prediction,
        probability, latency_ms, feature_hash, numeric_feature_stats)
    SELECT gen_random_uuid(), timestamptz '2024-05-01' + n * interval '7 minutes',
        'churn-classifier', (1 + n / 300)::text, n % 2, n / 500.0, 20 + n % 7, md5(n::text),
        '{"tenure_bin": "0-12", "senior_citizen": 0}'
    FROM generate_series(1, 500) AS n;
CREATE TABLE drift_metrics (
    id serial PRIMARY KEY, run_id varchar(64) UNIQUE, timestamp timestamptz, model_name varchar(100),
    model_version varchar(50), reference_window_start timestamptz, reference_window_end timestamptz,
    current_window_start timestamptz, current_window_end timestamptz, reference_sample_count integer,
    current_sample_count integer, max_psi double precision, avg_psi double precision,
    drift_detected boolean, features_with_drift json, drift_count integer,
    feature_drift_details json, prediction_psi double precision,
    prediction_drift_detected boolean, psi_threshold double precision, min_drift_features integer);
INSERT INTO drift_metrics (run_id, timestamp, model_name, model_version, max_psi, drift_detected,
        features_with_drift, feature_drift_details)
    SELECT left(md5(n::text), 16), now(), 'churn-classifier', 'unknown', n / 10.0, n > 2,
        '["tenure", "contract"]', '{"tenure": {"psi": 0.31, "severity": "significant"}}'
    FROM generate_series(1, 5) AS n;
CREATE TABLE drift_alerts (
    id serial PRIMARY KEY, drift_metric_id integer REFERENCES drift_metrics, created_at timestamptz,
    severity varchar(20), message text, features_affected json, acknowledged boolean DEFAULT false,
    acknowledged_at timestamptz, action_taken text, retrain_triggered boolean DEFAULT false);
INSERT INTO drift_alerts (drift_metric_id, created_at, severity, message, features_affected)
    SELECT id, now(), 'high', 'drift', '["tenure"]' FROM drift_metrics WHERE drift_detected;
CREATE TABLE reference_datasets (
    id serial PRIMARY KEY, name varchar(100) UNIQUE, created_at timestamptz, model_name varchar(100),
    model_version varchar(50), sample_count integer, feature_count integer, dataset_stats json,
    storage_path text, is_active boolean);
CREATE TABLE promotion_decisions (
    id serial PRIMARY KEY, decision_id varchar(64), timestamp timestamptz, trigger_type varchar(20),
    drift_run_id varchar(64), champion_model_name varchar(100), champion_version varchar(50),
    champion_mlflow_run_id varchar(64), champion_metrics json, challenger_model_name varchar(100),
    challenger_version varchar(50), challenger_mlflow_run_id varchar(64), challenger_metrics json,
    validation_passed boolean, metric_improvement boolean, latency_acceptable boolean,
    primary_metric_name varchar(50), primary_metric_improvement double precision, promoted boolean,
    promotion_reason text, rejection_reasons json, comparison_duration_seconds double precision);
INSERT INTO promotion_decisions (decision_id, timestamp, promoted, promotion_reason, champion_metrics)
    VALUES ('a1', now(), true, 'better', '{"roc_auc": 0.8372}'),
        ('a2', now(), false, NULL, '{"roc_auc": null}');
CREATE TABLE retraining_runs (
    id serial PRIMARY KEY, run_id varchar(64), timestamp timestamptz, trigger_type varchar(20),
    drift_run_id varchar(64), drift_features json, drift_max_psi double precision,
    mlflow_run_id varchar(64), model_version varchar(50), training_config json, status varchar(20),
    metrics json, error_message text, promotion_decision_id varchar(64), promoted boolean,
    training_duration_seconds double precision);
INSERT INTO retraining_runs (run_id, timestamp, status) VALUES ('r1', now(), 'completed');
CREATE TABLE drift_results (
    id serial PRIMARY KEY, run_id uuid, timestamp timestamptz, reference_start timestamptz,
    reference_end timestamptz, current_start timestamptz, current_end timestamptz,
    feature_drift jsonb, prediction_drift jsonb, drift_detected boolean, metadata jsonb);
CREATE TABLE model_metadata (
    id serial PRIMARY KEY, model_name varchar(100), model_version varchar(50),
    mlflow_run_id varchar(64), registered_at timestamptz, promoted_at timestamptz,
    status varchar(20) DEFAULT 'staging', metrics jsonb, validation_results jsonb);
INSERT INTO model_metadata (model_name, model_version) VALUES ('churn-classifier', '1');
