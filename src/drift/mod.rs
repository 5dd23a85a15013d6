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
//! | count | [`Counts`], [`TrafficSummary`], [`Moments`], [`Rejected`] | exact `u64` per slot, that add up in any order; from [rows](Counts::observe), [codes](Counts::observe_codes), [stored codes](Counts::observe_code_rows), [data sets](Counts::of) or [bare numbers](NumericBinning::count) |
//! | count live | [`LiveCounters`], [`LiveOptions`], [`LiveSnapshot`] | the same counts of the last hours, from many threads, at any moment |
//! | measure | [`DriftMetric`] on a [`BinnedPair`]: [`Psi`], [`KullbackLeibler`], [`JensenShannon`] and [more](#metrics) | how far apart two histograms are |
//! | smooth | [`Smoothing`] | keeps empty slots from being infinitely far away |
//! | test | [`Significance`], [`TestResult`], [`TestMethod`], [`Correction`], [`fisher_combined`] | whether it is more than chance |
//! | decide | [`DriftDetector`], [`DriftSettings`], [`Gate`] | [`FeatureStatus`] and [`Severity`] of each feature, the [`Verdict`], the [`Signal`]s |
//! | compare samples | [`two_sample`] | tests and distances of raw numbers, without bins |
//! | share out | [`Workers`], [`Serial`] | who works on the columns of a data set; the feature `rayon` uses every core |
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
//! # Metrics
//!
//! A report has PSI, KL and JS; [`DriftDetector::metric`] adds one more, of this crate or of your
//! own, and [`DriftDetector::all_metrics`] all of these:
//!
//! | metric | range | empty slots | order | with no drift, about |
//! |---|---|---|---|---|
//! | [`Psi`] | from 0, nats | smoothed | no | `(K - 1)(1/n + 1/m)` |
//! | [`KullbackLeibler`] | from 0, nats | smoothed | no | half of that |
//! | [`JensenShannon`] | 0 to ln 2, nats | smoothed | no | an eighth of that |
//! | [`Hellinger`] | 0 to 1 | taken as they are | no | root of an eighth of that |
//! | [`TotalVariation`] | 0 to 1, a proportion | taken as they are | no | `sqrt((K - 1)(1/n + 1/m) / 2 pi)` |
//! | [`ChiSquare`], [`GTest`] | from 0, grow with the rows; both have a p-value | taken as they are | no | `K - 1` |
//! | [`CramersV`] | 0 to 1 | taken as they are | no | `sqrt((K - 1) / (n + m))` |
//! | [`KolmogorovSmirnov`] | 0 to 1, a proportion; has a p-value | taken as they are | yes | `0.87 sqrt(1/n + 1/m)` |
//! | [`Wasserstein`] | from 0, unit of the feature | taken as they are | yes | |
//! | [`WassersteinRanks`] | 0 to 1/2, shares of the reference | taken as they are | yes | `0.3 sqrt(1/n + 1/m)` |
//!
//! where `K` is the number of slots that are not empty on both sides, `n` and `m` the rows of reference
//! and window. Slots that are empty on *one* side are smoothed or taken as they are, as the table
//! says; a side without any row makes no [`BinnedPair`]. Missing values are a slot like any other for
//! metrics that know no order; infinities lie in the outer bins.
//!
//! ## Which one?
//!
//! | the question | the answer | not so good |
//! |---|---|---|
//! | has anything changed that matters? | PSI and its test together, as a [`DriftDetector`] has them | a p-value alone: at many rows it finds what matters to nobody |
//! | how large is it, in a number that others know? | [`Psi`], with its conventional thresholds | [`KullbackLeibler`]: it hardly sees what is new in the window |
//! | how large is it, between 0 and 1, in words? | [`TotalVariation`]: the share of rows that changed their slot | [`CramersV`] at samples of very different sizes |
//! | which windows are close to each other? | [`Hellinger`], or the root of [`JensenShannon`]: both are metrics | [`Psi`], which is none |
//! | is it more than chance? | [`ChiSquare::test`]; few rows in many slots are simulated | [`GTest`] at few rows |
//! | did a *number* move, and which way? | [`KolmogorovSmirnov`] with its p-value; [`WassersteinRanks`] to compare features | any metric that knows no order |
//! | how far did it move, in its own unit? | [`Wasserstein`] | where values went far beyond the reference: the outer bins hide it |
//! | are there more missing values? | the [signal](#signals) of that name | metrics that know an order leave them out |
//! | the raw numbers of both sides are at hand | a test of [`two_sample`](two_sample#which-one) | bins, which hide what happens inside them |
//! | not sure | [`DriftDetector::all_metrics`]: all of these in every report | deciding by the largest of many numbers |
//!
//! Many features are many tests: [`Correction::Holm`] where any false alarm is one too many (the
//! default), [`Correction::BenjaminiHochberg`] where some false ones among many alarms are no harm.
//!
//! ## What a metric is
//!
//! A metric is one number, 0 for equal proportions. So a p-value is none: it is what `test` of a
//! metric answers, as a [`TestResult`]. Those that know an order leave missing values out and say
//! how much the bins hide from them ([`KolmogorovSmirnov::bounds`], [`Wasserstein::resolution`]);
//! for categories they are `None` in a report. Where the raw numbers of both sides are at hand,
//! [`two_sample`] has the tests that need no bins.
//!
//! # PSI, and a test beside it
//!
//! PSI is the *size* of a shift, not the proof of one. With no drift at all it is about
//! `(K - 1)(1/n + 1/m)` for `K` slots and `n` and `m` rows ([`chance_psi`]; B. Yurdakul, 2018), so
//! at small windows a threshold alone raises false alarms, and at `K = 50`, `n = 100` in nearly every
//! window. So a feature has drifted when its PSI reaches the threshold **and** the shift is
//! significant: p < 0.005 by the two-sample Pearson chi-square test on the raw counts, corrected for
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
//! refused requests. A share of missing, unseen or out-of-range values must also have grown by more
//! than chance: p < 0.01 by the same test on two slots, with Bonferroni's correction for the number
//! of features. That level is fixed; the 0.005 of [`Gate`] is for the drift of features. A request that was refused for an unknown category is in no histogram, and is
//! counted here.
//!
//! # Empty slots
//!
//! A slot that is empty on both sides is left out; `K` counts the others. Where one side is empty a
//! logarithm has no value, so shares are [smoothed](Smoothing): by default both sides are shrunk to
//! their pooled shares, which leaves equal proportions at exactly 0. `Additive(0.5)`, `Floor(1e-4)`
//! (usual in credit risk) and `Floor(1e-6)` (the system that this crate grew out of) are options.
//! [`Smoothing::None`] is for comparing single metrics with a textbook; a detector refuses it.
//!
//! # Where the numbers come from
//!
//! | number | source |
//! |---|---|
//! | PSI | H. Jeffreys, 1946, DOI 10.1098/rspa.1946.0056; its chance level: B. Yurdakul, *Statistical Properties of Population Stability Index*, 2018 |
//! | KL | S. Kullback and R. A. Leibler, 1951, DOI 10.1214/aoms/1177729694 |
//! | JS | J. Lin, 1991, DOI 10.1109/18.61115 |
//! | Hellinger | E. Hellinger, 1909, DOI 10.1515/crll.1909.136.210 |
//! | total variation | A. L. Gibbs and F. E. Su, 2002, DOI 10.1111/j.1751-5823.2002.tb00178.x |
//! | G | S. S. Wilks, 1938, DOI 10.1214/aoms/1177732360 |
//! | Cramér's V | H. Cramér, 1946, DOI 10.1515/9781400883868 |
//! | Kolmogorov-Smirnov | N. Smirnov, 1948, DOI 10.1214/aoms/1177730256; its laws: R. Simard and P. L'Ecuyer, 2011, DOI 10.18637/jss.v039.i11, J. L. Hodges, 1958, DOI 10.1007/BF02589501; on bins: W. J. Conover, 1972, DOI 10.1080/01621459.1972.10481254 |
//! | Wasserstein | S. S. Vallender, 1974, DOI 10.1137/1118101; on ranks: A. Ramdas, N. García Trillos and M. Cuturi, 2017, DOI 10.3390/e19020047 |
//! | energy | G. J. Székely and M. L. Rizzo, 2013, DOI 10.1016/j.jspi.2013.03.018 |
//! | Cramér-von Mises | T. W. Anderson, 1962, DOI 10.1214/aoms/1177704477; exact: Y. Xiao, A. Gordon and A. Yakovlev, 2006, DOI 10.18637/jss.v017.i08 |
//! | Anderson-Darling | F. W. Scholz and M. A. Stephens, 1987, DOI 10.2307/2288805 |
//! | Mann-Whitney | H. B. Mann and D. R. Whitney, 1947, DOI 10.1214/aoms/1177730491 |
//! | Welch | B. L. Welch, 1947, DOI 10.1093/biomet/34.1-2.28 |
//! | chi-square test | K. Pearson, 1900, DOI 10.1080/14786440009463897; expected counts of 5: W. G. Cochran, 1954, DOI 10.2307/3001616 |
//! | simulated p-values | J. Besag and P. Clifford, 1991, DOI 10.1093/biomet/78.2.301 |
//! | correction | S. Holm, 1979, JSTOR 4615733; O. J. Dunn, 1961, DOI 10.1080/01621459.1961.10482090; Z. Šidák, 1967, DOI 10.1080/01621459.1967.10482935; Y. Benjamini and Y. Hochberg, 1995, DOI 10.1111/j.2517-6161.1995.tb02031.x; Y. Benjamini and D. Yekutieli, 2001, DOI 10.1214/aos/1013699998 |
//! | combined p-values | F. Mosteller and R. A. Fisher, 1948, DOI 10.2307/2681650 |
//! | quantiles | R. J. Hyndman and Y. Fan, 1996, DOI 10.1080/00031305.1996.10473566, definition 7 |
//! | mean and spread | B. P. Welford, 1962, DOI 10.1080/00401706.1962.10490022 |

mod binning;
mod chi_square;
mod code_rows;
mod columns;
mod correction;
mod counter;
mod counts;
mod detector;
mod display;
mod distance;
mod divergence;
mod edges;
mod grid;
mod hypergeometric;
mod kernel;
mod kolmogorov_smirnov;
mod live;
mod metric;
mod numeric_binning;
mod order;
mod ordered;
mod profile;
mod psi;
mod report;
mod sentence;
mod settings;
mod signals;
mod significance;
mod smoothing;
mod summary;
pub mod two_sample;
mod wasserstein;
mod workers;

#[cfg(test)]
mod oracles;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod twins;

pub use binning::Binning;
pub use chi_square::{ChiSquare, CramersV, GTest};
pub use code_rows::CodeRowsError;
pub use correction::{Correction, fisher_combined};
pub use counts::{Counts, NotComparable, Rejected};
pub use detector::DriftDetector;
pub use distance::{Hellinger, TotalVariation};
pub use divergence::{JensenShannon, KullbackLeibler};
pub use edges::{BinningStrategy, MAX_REQUESTED_BINS};
pub use kolmogorov_smirnov::KolmogorovSmirnov;
pub use live::{LiveCounters, LiveOptions, LiveSnapshot};
pub use metric::{BinnedPair, DriftMetric};
pub use numeric_binning::{BinningError, Closed, MAX_BINS, NumericBinning};
pub use profile::{
    Codes, FeatureProfile, PROFILE_VERSION, Profile, ProfileError, ProfileOptions, SCORE_NAME,
};
pub use psi::{Psi, chance_psi};
pub use report::{
    DriftReport, FeatureDrift, FeatureStatus, REPORT_VERSION, Severity, Signal, Significance,
    SlotShift, Verdict,
};
pub use settings::{DriftSettings, Gate, SettingsError};
pub use significance::{TestMethod, TestResult};
pub use smoothing::Smoothing;
pub(crate) use summary::quantile;
pub use summary::{MAX_UNSEEN, Moments, ReferenceSummary, TrafficSummary};
pub use wasserstein::{Wasserstein, WassersteinRanks};
pub use workers::{Serial, Workers};
