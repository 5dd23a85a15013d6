//! Drift. (The page follows.)

mod binning;
mod counts;
mod detector;
mod display;
mod divergence;
mod hypergeometric;
mod metric;
mod profile;
mod psi;
mod report;
mod sentence;
mod signals;
mod significance;
mod smoothing;
mod summary;

#[cfg(test)]
mod tests;

pub use binning::{
    Binning, BinningError, BinningStrategy, Closed, MAX_BINS, MAX_REQUESTED_BINS, NumericBinning,
};
pub use counts::{Counts, NotComparable, Rejected};
pub use detector::{DriftDetector, DriftSettings, Gate, SettingsError};
pub use divergence::{JensenShannon, KullbackLeibler};
pub use metric::{BinnedPair, DriftMetric};
pub use profile::{
    Codes, FeatureProfile, PROFILE_VERSION, Profile, ProfileError, ProfileOptions, SCORE_NAME,
};
pub use psi::{Psi, chance_psi};
pub use report::{
    DriftReport, FeatureDrift, FeatureStatus, REPORT_VERSION, Severity, Signal, Significance,
    SlotShift, TestMethod, Verdict,
};
pub use significance::Correction;
pub use smoothing::Smoothing;
pub use summary::{MAX_UNSEEN, Moments, ReferenceSummary, TrafficSummary};
