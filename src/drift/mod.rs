//! Does live traffic still look like the reference, and if not, what changed?
//!
//! Drift here is a change of the *distribution* of a feature, or of the model's own score, between
//! the rows that a model version was accepted on (the reference) and a window of live traffic. It is
//! not a change of the model's quality, which only true outcomes show: drift is the part that can be
//! seen at once.
//!
//! ```
//! use pmmds::drift::{DriftDetector, FeatureStatus, Severity, Verdict};
//! use pmmds::record::{Columns, Table};
//! use pmmds::schema::{Feature, FeatureSchema};
//! use std::sync::Arc;
//!
//! let schema = Arc::new(FeatureSchema::new([
//!     Feature::categorical("plan", ["basic", "gold"]),
//!     Feature::integer("tenure"),
//! ])?);
//! let rows = |gold_every: usize| {
//!     let row = move |i: usize| {
//!         [(if i % gold_every == 0 { "gold" } else { "basic" }).to_owned(), (i % 60).to_string()]
//!     };
//!     Columns::read(&schema, &Table::from_rows(["plan", "tenure"], (0..1_000).map(row)).unwrap())
//! };
//! let report = DriftDetector::default().compare(&rows(10)?.batch(), &rows(2)?.batch())?;
//!
//! // One of two features: fewer than it takes for the verdict `Drift`, and never `Stable`.
//! assert_eq!(report.verdict, Verdict::FeatureDrift);
//! let plan = report.feature("plan").unwrap();
//! assert_eq!((plan.status, plan.severity), (FeatureStatus::Drifted, Severity::Major));
//! assert_eq!(plan.sentence, "\"gold\" 10.0 % -> 50.0 %");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # From rows to a verdict
//!
//! | step | type | what it does |
//! |---|---|---|
//! | bin | [`Binning`], [`NumericBinning`], [`BinningStrategy`] | puts every value into a slot: a bin, a level, *other*, *missing* |
//! | freeze | [`Profile`], [`ProfileOptions`], [`FeatureProfile`] | binnings, reference counts and [summaries](ReferenceSummary), one file per model version |
//! | encode | [`Codes`], [`CodeRowsError`] | a row as one byte per feature, and one for the score |
//! | count | [`Counts`], [`TrafficSummary`], [`Moments`], [`Rejected`] | exact `u64` per slot, that add up in any order |
//! | count live | [`LiveCounters`], [`LiveOptions`], [`LiveSnapshot`] | the same counts of the last hours, from many threads, at any moment |
//! | measure | [`DriftMetric`] on a [`BinnedPair`]: [`Psi`], [`KullbackLeibler`], [`JensenShannon`] | how far apart two histograms are |
//! | smooth | [`Smoothing`] | keeps empty slots from being infinitely far away |
//! | test | [`Significance`], [`TestMethod`], [`Correction`] | whether it is more than chance |
//! | decide | [`DriftDetector`], [`DriftSettings`], [`Gate`] | [`FeatureStatus`] and [`Severity`] of each feature, the [`Verdict`], the [`Signal`]s |
//! | share out | [`Workers`], [`Serial`] | who works on the columns of a data set; `rayon` uses every core |
//! | tell | [`DriftReport`], [`FeatureDrift`], [`SlotShift`] | every number, one sentence per feature, `Display` as a table |
//!
//! # Bins
//!
//! Numeric bins are half-open, `(lo, hi]`, the first and the last open to infinity, as in
//! `pandas.cut` and `polars.cut`. Edges are quantiles of the *reference alone* (linear
//! interpolation, numpy's default, duplicates removed), so no live value moves them: where bins are
//! laid over both samples, one value of 1e6 among 10,000 rows can hide a real shift behind it. A
//! value that holds at least `1/bins` of the reference (a constant, a flag, a spike at zero) gets a
//! bin of its own, and a whole-number feature with at most 20 different values one bin per value;
//! otherwise a flag that falls from 95 % ones to 50 % would score 0, since all its quantiles are 1.
//! -0.0 is 0.0, infinities fall in the outer bins and are counted apart, NaN is *missing*. Levels
//! are those of the schema: one that the reference never had keeps its slot with count 0.
//!
//! # PSI, and a test beside it
//!
//! PSI is the *size* of a shift, not the proof of one. With no drift at all it is about
//! `(K - 1)(1/n + 1/m)` for `K` slots and `n` and `m` rows ([`chance_psi`]; B. Yurdakul, 2018), so
//! at small windows a threshold alone raises false alarms, and at `K = 50`, `n = 100` in nearly every
//! window. So a feature has drifted when its PSI reaches the threshold **and** the shift is
//! significant: p < 0.01 by the two-sample Pearson chi-square test on the raw counts, corrected for
//! the number of features (S. Holm, 1979, by default). Where an expected count is below 5 the p-value
//! comes from simulated tables with the same margins, seeded from the counts: the same pair gives the
//! same answer every time. Both samples count: a small reference is not taken for the truth. Each
//! feature also states the smallest PSI that its row counts could have proven
//! ([`provable_psi`](FeatureDrift::provable_psi)). [`Gate::Off`] gives PSI alone.
//!
//! # Verdicts
//!
//! | verdict | when |
//! |---|---|
//! | [`Stable`](Verdict::Stable) | enough rows, and no feature has drifted |
//! | [`FeatureDrift`](Verdict::FeatureDrift) | some have, fewer than [`min_drift_features`](DriftSettings::min_drift_features) |
//! | [`Drift`](Verdict::Drift) | at least as many have: 3 by default, all of them where there are fewer features |
//! | [`InsufficientData`](Verdict::InsufficientData) | fewer than [`min_rows`](DriftSettings::min_rows) rows in the window: 100 by default |
//! | [`NoTraffic`](Verdict::NoTraffic) | no request at all |
//! | [`NotComparable`](Verdict::NotComparable) | counted with another profile, or the reference is too small |
//!
//! What is unknown is never 0 and never `Stable`.
//!
//! # Severity
//!
//! | PSI | severity | |
//! |---|---|---|
//! | below 0.1 | [`None`](Severity::None) | |
//! | from 0.1 | [`Moderate`](Severity::Moderate) | monitor |
//! | from 0.2 | [`Significant`](Severity::Significant) | investigate |
//! | from 0.25 | [`Major`](Severity::Major) | act |
//!
//! Bounds are inclusive. They are a convention of credit scoring, without a theory behind them.
//!
//! # Signals
//!
//! Beside the drift of features, each with a threshold of its own in [`DriftSettings`]: drift of the
//! score, more missing values, values outside the levels, numbers outside the range of the reference,
//! refused requests. A request that was refused for an unknown category is in no histogram, and is
//! counted here.
//!
//! # Empty slots
//!
//! A slot that is empty on both sides is left out; `K` counts the others. Where one side is empty a
//! logarithm has no value, so shares are [smoothed](Smoothing): by default both sides are shrunk to
//! their pooled shares, which leaves equal proportions at exactly 0. `Additive(0.5)`, `Floor(1e-4)`
//! (usual in credit risk) and `Floor(1e-6)` (the system that this crate grew out of) are options.
//!
//! # Where the numbers come from
//!
//! | number | source |
//! |---|---|
//! | PSI | H. Jeffreys, 1946, DOI 10.1098/rspa.1946.0056; its chance level: B. Yurdakul, *Statistical Properties of Population Stability Index*, 2018 |
//! | KL | S. Kullback and R. A. Leibler, 1951, DOI 10.1214/aoms/1177729694 |
//! | JS | J. Lin, 1991, DOI 10.1109/18.61115 |
//! | chi-square test | K. Pearson, 1900, DOI 10.1080/14786440009463897; expected counts of 5: W. G. Cochran, 1954, DOI 10.2307/3001666 |
//! | simulated p-values | J. Besag and P. Clifford, 1991, DOI 10.1093/biomet/78.2.301 |
//! | correction | S. Holm, 1979, DOI 10.2307/4615733; Y. Benjamini and Y. Hochberg, 1995, DOI 10.1111/j.2517-6161.1995.tb02031.x |
//! | quantiles | R. J. Hyndman and Y. Fan, 1996, DOI 10.1080/00031305.1996.10473566, definition 7 |
//! | mean and spread | B. P. Welford, 1962, DOI 10.1080/00401706.1962.10490022 |

mod binning;
mod code_rows;
mod columns;
mod counter;
mod counts;
mod detector;
mod display;
mod divergence;
mod grid;
mod hypergeometric;
mod kernel;
mod live;
mod metric;
mod order;
mod profile;
mod psi;
mod report;
mod sentence;
mod settings;
mod signals;
mod significance;
mod smoothing;
mod summary;
mod workers;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod twins;

pub use binning::{
    Binning, BinningError, BinningStrategy, Closed, MAX_BINS, MAX_REQUESTED_BINS, NumericBinning,
};
pub use code_rows::CodeRowsError;
pub use counts::{Counts, NotComparable, Rejected};
pub use detector::DriftDetector;
pub use divergence::{JensenShannon, KullbackLeibler};
pub use live::{LiveCounters, LiveOptions, LiveSnapshot};
pub use metric::{BinnedPair, DriftMetric};
pub use profile::{
    Codes, FeatureProfile, PROFILE_VERSION, Profile, ProfileError, ProfileOptions, SCORE_NAME,
};
pub use psi::{Psi, chance_psi};
pub use report::{
    DriftReport, FeatureDrift, FeatureStatus, REPORT_VERSION, Severity, Signal, Significance,
    SlotShift, Verdict,
};
pub use settings::{DriftSettings, Gate, SettingsError};
pub use significance::{Correction, TestMethod};
pub use smoothing::Smoothing;
pub(crate) use summary::quantile;
pub use summary::{MAX_UNSEEN, Moments, ReferenceSummary, TrafficSummary};
pub use workers::{Serial, Workers};
