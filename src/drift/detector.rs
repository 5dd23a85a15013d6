//! The rule that turns counts into a verdict.

use serde::{Deserialize, Serialize};

/// Thresholds of a detector. (More follows.)
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DriftSettings {
    /// PSI from which a feature counts as drifted, if the shift is also significant
    pub psi_threshold: f64,
    /// drifted features that it takes for [`Verdict::Drift`](super::Verdict::Drift)
    pub min_drift_features: usize,
}
