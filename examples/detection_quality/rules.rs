//! The rules that are compared. Each says of every feature whether it has drifted.

use pmmds::drift::two_sample::{Alternative, Method, Sample as Sorted, kolmogorov_smirnov};
use pmmds::drift::{
    BinnedPair, Binning, BinningStrategy, ChiSquare, Closed, Counts, DriftDetector,
    DriftMetric as _, FeatureStatus, NotComparable, NumericBinning, Profile, ProfileOptions, Psi,
    Smoothing,
};
use statrs::distribution::{ChiSquared, ContinuousCDF as _};

use crate::population::{Drawn, Sample};
use crate::{Outcome, THRESHOLD};

/// Level of the rules that test every feature by itself.
const LEVEL: f64 = 0.05;

/// A reference and a window, counted both ways.
pub(crate) struct Trial<'s> {
    reference: &'s Sample,
    window: &'s Sample,
    /// binned as we do
    usual: (Profile, Counts),
    /// binned by quantiles alone, as most do
    plain: (Profile, Counts),
}

impl<'s> Trial<'s> {
    pub(crate) fn new(reference: &'s Sample, window: &'s Sample) -> Outcome<Self> {
        let (before, after) = (reference.batch()?, window.batch()?);
        let counted = |profile: Profile| -> Outcome<(Profile, Counts)> {
            let counts = Counts::of(&profile, &after, None)?;
            Ok((profile, counts))
        };
        let plain = BinningStrategy::Quantile { bins: 10, atoms: false };
        Ok(Self {
            reference,
            window,
            usual: counted(Profile::fit(&before)?)?,
            plain: counted(ProfileOptions::new().strategy(plain).fit(&before)?)?,
        })
    }

    /// The counts of a category, without missing values.
    fn categories(&self, at: usize) -> Present<'_> {
        let (profile, counts) = &self.usual;
        let feature = &profile.features()[at];
        let present = |counts: &[u64]| {
            let mut counts = counts.to_vec();
            counts[feature.binning().missing_slot()] = 0;
            counts
        };
        Present {
            binning: feature.binning(),
            reference: present(feature.counts()),
            current: present(counts.slots(at)),
        }
    }
}

/// Counts of values that are there.
struct Present<'b> {
    binning: &'b Binning,
    reference: Vec<u64>,
    current: Vec<u64>,
}

impl Present<'_> {
    fn pair(&self) -> Result<BinnedPair<'_>, NotComparable> {
        BinnedPair::new(self.binning, &self.reference, &self.current)
    }

    /// By the original, which answered 0, "no drift", where a side had no values.
    fn drifted(&self, psi: Psi) -> Outcome<bool> {
        let Ok(pair) = self.pair() else { return Ok(false) };
        Ok(psi.measure(pair)? >= THRESHOLD)
    }
}

pub(crate) trait Rule: Sync {
    fn name(&self) -> &'static str;

    /// Whether it is the default of this crate.
    fn is_ours(&self) -> bool {
        false
    }

    fn flagged(&self, trial: &Trial<'_>) -> Outcome<Vec<bool>>;
}

/// All of them, in the order of the table.
pub(crate) fn all() -> [&'static dyn Rule; 7] {
    [
        &Original,
        &Threshold {
            name: "quantiles, floor 1e-4",
            plain: true,
            smoothing: Smoothing::Floor(1e-4),
        },
        &Threshold {
            name: "quantiles, floor 1e-6",
            plain: true,
            smoothing: Smoothing::Floor(1e-6),
        },
        &ChiSquareBound,
        &PerFeatureTest,
        &Threshold { name: "ours, untested", plain: false, smoothing: Smoothing::Pooled(0.5) },
        &Ours,
    ]
}

/// The rule of the Python system that this crate grew out of: ten bins of equal width over both
/// samples, categories of both, shares of at least 1e-6, missing values dropped, PSI over 0.2.
struct Original;

impl Rule for Original {
    fn name(&self) -> &'static str {
        "the original"
    }

    fn flagged(&self, trial: &Trial<'_>) -> Outcome<Vec<bool>> {
        let psi = Psi::new(Smoothing::Floor(1e-6));
        let columns = trial.reference.columns.iter().zip(&trial.window.columns);
        let flagged = columns.enumerate().map(|(at, columns)| -> Outcome<bool> {
            let (binning, reference, current) = match columns {
                (Drawn::Numbers(reference), Drawn::Numbers(current)) => {
                    let both = || reference.iter().chain(current).filter(|x| !x.is_nan());
                    let min = both().copied().fold(f64::INFINITY, f64::min);
                    let max = both().copied().fold(f64::NEG_INFINITY, f64::max);
                    let binning = NumericBinning::uniform(min, max, 10, Closed::Left)?;
                    let count = |numbers: &[f64]| {
                        let mut counts = vec![0; binning.bins() + 1];
                        numbers.iter().filter_map(|x| binning.bin(*x)).for_each(|b| counts[b] += 1);
                        counts
                    };
                    let (reference, current) = (count(reference), count(current));
                    (binning, reference, current)
                }
                _ => return trial.categories(at).drifted(psi),
            };
            Present { binning: &Binning::Numeric(binning), reference, current }.drifted(psi)
        });
        flagged.collect()
    }
}

/// PSI over a fixed threshold, without a test.
struct Threshold {
    name: &'static str,
    plain: bool,
    smoothing: Smoothing,
}

impl Rule for Threshold {
    fn name(&self) -> &'static str {
        self.name
    }

    fn flagged(&self, trial: &Trial<'_>) -> Outcome<Vec<bool>> {
        let psi = Psi::new(self.smoothing);
        let counted = if self.plain { &trial.plain } else { &trial.usual };
        pairs(counted).map(|pair| Ok(psi.measure(pair?)? >= THRESHOLD)).collect()
    }
}

/// The rule of scouter: PSI over the 95 % point of chi-square(B - 1) / m, which takes the reference
/// for the truth. Its shares are raised by 1e-10.
struct ChiSquareBound;

impl Rule for ChiSquareBound {
    fn name(&self) -> &'static str {
        "chi-square(B-1)/m"
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of a simulation")]
    fn flagged(&self, trial: &Trial<'_>) -> Outcome<Vec<bool>> {
        let flagged = pairs(&trial.plain).map(|pair| -> Outcome<bool> {
            let pair = pair?;
            let (n, m) = (pair.reference_rows() as f64, pair.current_rows() as f64);
            let term = |(r, c): (u64, u64)| {
                let (r, c) = (r as f64 / n + 1e-10, c as f64 / m + 1e-10);
                (c - r) * (c / r).ln()
            };
            let slots = pair.used().count();
            if slots < 2 {
                return Ok(false);
            }
            let bound = ChiSquared::new(slots as f64 - 1.0)?.inverse_cdf(1.0 - LEVEL) / m;
            Ok(pair.used().map(term).sum::<f64>() > bound)
        });
        flagged.collect()
    }
}

/// What most tools do below a thousand rows: Kolmogorov-Smirnov for every number and chi-square for
/// every category, each at 0.05, missing values dropped.
struct PerFeatureTest;

impl Rule for PerFeatureTest {
    fn name(&self) -> &'static str {
        "KS / chi-square, 0.05"
    }

    fn flagged(&self, trial: &Trial<'_>) -> Outcome<Vec<bool>> {
        let tested = ChiSquare;
        let columns = trial.reference.columns.iter().zip(&trial.window.columns);
        let flagged = columns.enumerate().map(|(at, columns)| -> Outcome<bool> {
            if let (Drawn::Numbers(reference), Drawn::Numbers(current)) = columns {
                let (reference, current) = (Sorted::new(reference)?, Sorted::new(current)?);
                let test = kolmogorov_smirnov(
                    &reference,
                    &current,
                    Alternative::TwoSided,
                    Method::Asymptotic,
                );
                return Ok(test.p_value < LEVEL);
            }
            let categories = trial.categories(at);
            let Ok(test) = categories.pair().and_then(|pair| tested.asymptotic(pair)) else {
                // A single category is left: nothing to compare.
                return Ok(false);
            };
            Ok(test.p_value < LEVEL)
        });
        flagged.collect()
    }
}

/// The defaults of this crate.
struct Ours;

impl Rule for Ours {
    fn name(&self) -> &'static str {
        "ours"
    }

    fn is_ours(&self) -> bool {
        true
    }

    fn flagged(&self, trial: &Trial<'_>) -> Outcome<Vec<bool>> {
        let (profile, counts) = &trial.usual;
        let report = DriftDetector::default().detect(profile, counts);
        let drifted = |name| {
            report.feature(name).is_some_and(|feature| feature.status == FeatureStatus::Drifted)
        };
        Ok(profile.features().iter().map(|feature| drifted(feature.name())).collect())
    }
}

/// The counts of every feature, both sides.
fn pairs((profile, counts): &(Profile, Counts)) -> impl Iterator<Item = Outcome<BinnedPair<'_>>> {
    let pair = |(at, feature)| -> Outcome<BinnedPair<'_>> {
        let feature: &pmmds::drift::FeatureProfile = feature;
        Ok(BinnedPair::new(feature.binning(), feature.counts(), counts.slots(at))?)
    };
    profile.features().iter().enumerate().map(pair)
}
