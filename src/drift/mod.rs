//! Drift. (The page follows.)

mod binning;
mod counts;
mod detector;
mod profile;
mod report;
mod summary;

pub use binning::{
    Binning, BinningError, BinningStrategy, Closed, MAX_BINS, MAX_REQUESTED_BINS, NumericBinning,
};
pub use counts::{Counts, NotComparable, Rejected};
pub use detector::DriftSettings;
pub use profile::{
    Codes, FeatureProfile, PROFILE_VERSION, Profile, ProfileError, ProfileOptions, SCORE_NAME,
};
pub use report::{
    DriftReport, FeatureDrift, FeatureStatus, REPORT_VERSION, Severity, Signal, Significance,
    SlotShift, TestMethod, Verdict,
};
pub use summary::{MAX_UNSEEN, Moments, ReferenceSummary, TrafficSummary};
