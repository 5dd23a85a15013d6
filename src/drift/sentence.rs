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
        return outside(slot, &before, &now, current);
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

/// What to say about values outside the levels: by name, where names are known.
fn outside(slot: &SlotShift, before: &str, now: &str, current: Option<&TrafficSummary>) -> String {
    let names = current.map(|current| most_frequent(current, 3)).unwrap_or_default();
    let more = current.is_some_and(|c| c.unseen_more > 0 || c.unseen.len() > names.len());
    let (list, more) = (names.join(", "), if more { ", ..." } else { "" });
    match names.len() {
        0 => format!("values outside the levels {before} -> {now}"),
        1 if slot.reference == 0 && more.is_empty() => format!("new category {list} {now}"),
        _ if slot.reference == 0 => format!("new categories {now} ({list}{more})"),
        _ => format!("values outside the levels {before} -> {now} ({list}{more})"),
    }
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
    fn values_outside_the_levels_are_named_where_they_can_be() {
        let slot = |reference| SlotShift {
            label: "other".to_owned(),
            reference,
            current: 106,
            contribution: 0.5,
        };
        let mut seen = TrafficSummary::default();
        let say = |reference, seen: &TrafficSummary| {
            outside(&slot(reference), "1.0 %", "10.6 %", Some(seen))
        };
        assert_eq!(say(0, &seen), "values outside the levels 1.0 % -> 10.6 %");
        seen.observe_unseen(Some("Wallet"));
        assert_eq!(say(0, &seen), "new category \"Wallet\" 10.6 %");
        seen.observe_unseen(None);
        assert_eq!(say(0, &seen), "new categories 10.6 % (\"Wallet\", ...)");
        assert_eq!(say(5, &seen), "values outside the levels 1.0 % -> 10.6 % (\"Wallet\", ...)");
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
