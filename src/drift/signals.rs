//! What has to be looked at beside the drift of features, each with a threshold of its own.

use super::binning::Binning;
use super::chi_square::pearson;
use super::correction::Correction;
use super::counts::Counts;
use super::metric::BinnedPair;
use super::profile::Profile;
use super::report::{FeatureDrift, FeatureStatus, Signal};
use super::sentence::most_frequent;
use super::settings::DriftSettings;

/// Level of the test that guards against calling chance a signal, before it is corrected for the
/// number of features. [`DriftSettings`] says so; it is no setting, as a threshold of the share is
/// what an owner means.
const CHANCE: f64 = 0.01;

/// Every signal of a window with enough rows.
pub(super) fn all(
    settings: &DriftSettings,
    profile: &Profile,
    counts: &Counts,
    prediction: Option<&FeatureDrift>,
) -> Vec<Signal> {
    let mut signals = Vec::new();
    if let Some(score) = prediction.filter(|score| score.status == FeatureStatus::Drifted) {
        let threshold = settings.prediction_psi_threshold;
        signals.push(Signal::PredictionDrift { psi: score.psi, threshold });
    }
    for at in 0..profile.features().len() {
        signals.extend(missing(settings, profile, counts, at));
        signals.extend(unseen(settings, profile, counts, at));
        signals.extend(out_of_range(settings, profile, counts, at));
    }
    signals.extend(rejected(settings, counts));
    signals
}

fn missing(
    settings: &DriftSettings,
    profile: &Profile,
    counts: &Counts,
    at: usize,
) -> Option<Signal> {
    let feature = &profile.features()[at];
    let slot = feature.binning().missing_slot();
    let (r, c) = (feature.counts()[slot], *counts.slots(at).get(slot)?);
    let (reference, current) = (share(r, profile.rows())?, share(c, counts.rows())?);
    if current - reference < settings.missing_increase {
        return None;
    }
    let (before, now) = ([r, profile.rows() - r], [c, counts.rows() - c]);
    let proven = more_than_chance(before, now, profile.features().len());
    proven.then(|| Signal::MissingValues {
        feature: feature.name().to_owned(),
        reference,
        current,
        threshold: settings.missing_increase,
    })
}

fn unseen(
    settings: &DriftSettings,
    profile: &Profile,
    counts: &Counts,
    at: usize,
) -> Option<Signal> {
    let feature = &profile.features()[at];
    let slot = feature.binning().other_slot()?;
    let summary = counts.summaries().get(at)?;
    let accepted = *counts.slots(at).get(slot)?;
    // Refused ones stand in the summary only, accepted ones in both where the row was summarised.
    let refused = summary.unseen_total().saturating_sub(accepted);
    let outside = accepted.saturating_add(refused);
    let requests = counts.rows().saturating_add(counts.rejected_requests());
    let usual = feature.counts()[slot];
    let share = share(outside, requests)?;
    if share - self::share(usual, profile.rows())? < settings.unseen_share {
        return None;
    }
    let before = [usual, profile.rows() - usual];
    let now = [outside, requests.saturating_sub(outside)];
    more_than_chance(before, now, profile.features().len()).then(|| Signal::UnseenCategories {
        feature: feature.name().to_owned(),
        share,
        threshold: settings.unseen_share,
        examples: most_frequent(summary, 5),
    })
}

fn out_of_range(
    settings: &DriftSettings,
    profile: &Profile,
    counts: &Counts,
    at: usize,
) -> Option<Signal> {
    let summary = counts.summaries().get(at)?;
    let (outside, rows) = (summary.below.saturating_add(summary.above), counts.summarised());
    let share = share(outside, rows)?;
    if rows < settings.min_rows || share < settings.out_of_range_share {
        return None;
    }
    // Its own smallest and largest value bound the reference: of as many new values from the same
    // source about two lie outside.
    let before = [2.min(profile.rows()), profile.rows().saturating_sub(2)];
    let now = [outside, rows.saturating_sub(outside)];
    more_than_chance(before, now, profile.features().len()).then(|| Signal::OutOfRange {
        feature: profile.features()[at].name().to_owned(),
        share,
        threshold: settings.out_of_range_share,
    })
}

/// Whether two shares differ by more than chance, corrected for as many tests: the test of drift on
/// a table of two slots.
fn more_than_chance(before: [u64; 2], now: [u64; 2], tests: usize) -> bool {
    let table = Binning::levels(["yes", "no"]);
    let slots = |[yes, no]: [u64; 2]| [yes, no, 0, 0];
    let (before, now) = (slots(before), slots(now));
    let level = Correction::Bonferroni.first_level(CHANCE, tests);
    let test = BinnedPair::new(&table, &before, &now).ok().and_then(|pair| pearson(pair, level));
    test.is_some_and(|test| test.p_value < level)
}

/// The signal of refused requests, which needs no accepted row: when everything is refused, this
/// is all that there is.
pub(super) fn rejected(settings: &DriftSettings, counts: &Counts) -> Option<Signal> {
    let requests = counts.rows().saturating_add(counts.rejected_requests());
    let share = share(counts.rejected_requests(), requests)?;
    (requests >= settings.min_rows && share >= settings.rejected_share).then(|| {
        let most = counts.rejected().iter().max_by_key(|rejected| rejected.count);
        Signal::Rejected {
            share,
            threshold: settings.rejected_share,
            feature: most.and_then(|rejected| rejected.feature.clone()),
            rule: most.map(|rejected| rejected.rule),
        }
    })
}

/// `count` of `rows`; `None` without rows, which is not 0.
#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
fn share(count: u64, rows: u64) -> Option<f64> {
    (rows > 0).then(|| count as f64 / rows as f64)
}
