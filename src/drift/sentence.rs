//! One plain sentence of what changed, for somebody who was just woken up.

use super::binning::Binning;
use super::profile::FeatureProfile;
use super::report::SlotShift;
use super::summary::TrafficSummary;

/// What changed most: the slot with the largest term of the PSI sum, in words.
pub(super) fn sentence(
    profile: &FeatureProfile,
    slots: &[SlotShift],
    current: Option<&TrafficSummary>,
) -> String {
    let largest = slots
        .iter()
        .enumerate()
        .filter(|(_, slot)| slot.contribution > 0.0)
        .max_by(|(_, a), (_, b)| a.contribution.total_cmp(&b.contribution));
    let Some((at, slot)) = largest else {
        return "no change".to_owned();
    };
    let binning = profile.binning();
    let n: u64 = slots.iter().map(|slot| slot.reference).sum();
    let m: u64 = slots.iter().map(|slot| slot.current).sum();
    let (before, now) = (percent(slot.reference, n), percent(slot.current, m));
    let label = &slot.label;
    if at == binning.missing_slot() {
        return format!("missing {before} -> {now}");
    }
    if Some(at) == binning.other_slot() {
        let names = current.map(top_unseen).unwrap_or_default();
        return format!("values outside the levels {before} -> {now}{names}");
    }
    match binning {
        Binning::Levels(_) if slot.reference == 0 => format!("new category {label} {now}"),
        Binning::Levels(_) if slot.current == 0 => format!("category {label} gone, was {before}"),
        Binning::Levels(_) => format!("{label} {before} -> {now}"),
        Binning::Numeric(_) => {
            let means = current.and_then(|current| {
                Some((profile.summary().moments.mean()?, current.moments.mean()?))
            });
            let means = means.map_or_else(String::new, |(before, now)| {
                format!("mean {} -> {}; ", significant(before), significant(now))
            });
            format!("{means}{label} {before} -> {now}")
        }
    }
}

/// The most frequent unseen levels in brackets, or nothing.
fn top_unseen(current: &TrafficSummary) -> String {
    let names = most_frequent(current, 3);
    if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
}

/// The `limit` most frequent unseen levels, quoted.
pub(super) fn most_frequent(summary: &TrafficSummary, limit: usize) -> Vec<String> {
    let mut names: Vec<(&String, &u64)> = summary.unseen.iter().collect();
    names.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
    names.into_iter().take(limit).map(|(name, _)| format!("{name:?}")).collect()
}

/// `count` of `rows` as a share in percent with one digit; a share that is not 0 never reads as 0.
#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
pub(super) fn percent(count: u64, rows: u64) -> String {
    if rows == 0 {
        return "unknown".to_owned();
    }
    let share = 100.0 * count as f64 / rows as f64;
    if count > 0 && share < 0.05 { "< 0.1 %".to_owned() } else { format!("{share:.1} %") }
}

/// A number with three significant digits, whole where it is large.
pub(super) fn significant(x: f64) -> String {
    let magnitude = x.abs();
    if magnitude >= 1e7 || (magnitude > 0.0 && magnitude < 1e-3) {
        format!("{x:.2e}")
    } else if magnitude >= 100.0 {
        format!("{x:.0}")
    } else if magnitude >= 10.0 {
        format!("{x:.1}")
    } else {
        format!("{x:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_share_never_reads_as_none() {
        assert_eq!(percent(1, 1_000_000), "< 0.1 %");
        assert_eq!(percent(0, 1_000_000), "0.0 %");
        assert_eq!(percent(0, 0), "unknown");
        assert_eq!(percent(77, 1000), "7.7 %");
    }

    #[test]
    fn numbers_are_short() {
        for (x, text) in
            [(0.0, "0.000"), (0.5, "0.500"), (43.07, "43.1"), (2283.3, "2283"), (1e9, "1.00e9")]
        {
            assert_eq!(significant(x), text);
        }
    }
}
