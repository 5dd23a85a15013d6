//! Tests of one question, answered by a statistic and a p-value.

use super::paired::quantile;
use super::rows::{float, mean};
use crate::drift::{TestMethod, TestResult};
use crate::tails::{normal_tails, student_tail};

/// Most pairs for which [`signed_rank_test`] counts its distribution out: scipy's limit.
const EXACT_PAIRS: usize = 50;

/// Student's test that paired values have the same mean: `champion` and `challenger` are what each
/// row costs either model, such as its absolute error.
///
/// # Formula
///
/// ```text
/// t = mean(d) / sqrt( var(d) / n ),   d_i = champion_i - challenger_i
/// ```
///
/// where `var` has `n - 1` below the line, and the p-value is that of Student's distribution with
/// `n - 1` degrees of freedom. No unit and no bounds; a positive `t` says that the champion's values are the
/// larger.
/// `None` unless both are of the same length, at least 2, all numbers are finite, and the
/// differences are not all the same. With skewed differences and few rows prefer
/// [`signed_rank_test`].
///
/// # Reference
///
/// Student (1908), The probable error of a mean, DOI 10.2307/2331554.
///
/// ```
/// use pmmds::promote::paired_t_test;
/// let (champion, challenger) = ([3.0, 5.0, 4.0, 6.0], [2.0, 3.0, 1.0, 2.0]);
/// let found = paired_t_test(&champion, &challenger).unwrap();
/// assert!((found.statistic - 15.0_f64.sqrt()).abs() < 1e-12);
/// assert_eq!(paired_t_test(&champion, &champion), None);
/// ```
#[must_use]
pub fn paired_t_test(champion: &[f64], challenger: &[f64]) -> Option<TestResult> {
    let differences = differences(champion, challenger)?;
    let freedom = float(differences.len().checked_sub(1)?);
    let centre = mean(differences.iter().copied());
    let squares: f64 = differences.iter().map(|d| (d - centre) * (d - centre)).sum();
    let variance = squares / freedom / float(differences.len());
    if !(freedom > 0.0 && variance > 0.0 && variance.is_finite()) {
        return None;
    }
    let statistic = centre / variance.sqrt();
    let p_value = 2.0 * student_tail(statistic.abs(), freedom);
    Some(TestResult::new(statistic, p_value, TestMethod::Asymptotic).freedom(freedom))
}

/// Wilcoxon's signed-rank test that the differences of paired values lie around 0: `champion` and
/// `challenger` are what each row costs either model, such as its absolute error. No outlier moves
/// it.
///
/// # Formula
///
/// ```text
/// statistic = min( sum of the ranks of |d_i| with d_i > 0, the same with d_i < 0 )
/// ```
///
/// where differences `d_i = champion_i - challenger_i` of 0 are left out and equal sizes share
/// their mean rank. From 0, where all differences have one sign, to `n (n + 1) / 4` for `n` of them. Up to 50 pairs without ties and zeros the p-value is exact, by counting all
/// signs; else it is the normal approximation with the variance
/// `n (n+1) (2n+1) / 24 - sum_ties (t^3 - t) / 48`, without a correction for continuity. `None`
/// unless both are of the same length, all numbers are finite and some differ. Its p-value is about
/// the median of symmetrical differences; means can tell another story.
///
/// # Reference
///
/// F. Wilcoxon (1945), Individual comparisons by ranking methods, DOI 10.2307/3001968; ties:
/// J. W. Pratt (1959), DOI 10.1080/01621459.1959.10501526.
///
/// ```
/// use pmmds::promote::signed_rank_test;
/// let (champion, challenger) = ([3.0, 5.0, 4.0, 6.0, 9.0], [2.0, 3.0, 1.0, 2.0, 4.0]);
/// let found = signed_rank_test(&champion, &challenger).unwrap();
/// assert_eq!((found.statistic, found.p_value), (0.0, 0.0625)); // 2 / 2^5
/// assert_eq!(found.method, pmmds::drift::TestMethod::Exact);
/// ```
#[must_use]
pub fn signed_rank_test(champion: &[f64], challenger: &[f64]) -> Option<TestResult> {
    let all = differences(champion, challenger)?;
    let mut sizes: Vec<(f64, bool)> =
        all.iter().filter(|d| d.abs() > 0.0).map(|d| (d.abs(), d.is_sign_positive())).collect();
    if sizes.is_empty() {
        return None;
    }
    sizes.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let count = float(sizes.len());
    let (mut positive, mut below, mut tie_cubes, mut ties) = (0.0, 0.0, 0.0, false);
    // Ascending, so `>=` between neighbours is equality.
    for group in sizes.chunk_by(|a, b| a.0 >= b.0) {
        let tied = float(group.len());
        let rank = below + f64::midpoint(tied, 1.0);
        positive += rank * float(group.iter().filter(|(_, positive)| *positive).count());
        below += tied;
        ties |= group.len() > 1;
        tie_cubes += tied.mul_add(tied * tied, -tied);
    }
    let all_ranks = count * (count + 1.0) / 2.0;
    let statistic = f64::min(positive, all_ranks - positive);
    let exact = all.len() <= EXACT_PAIRS && sizes.len() == all.len() && !ties;
    let (p_value, method) = if exact {
        (exact_signed_rank(sizes.len(), statistic), TestMethod::Exact)
    } else {
        let variance = (all_ranks * count.mul_add(2.0, 1.0)) / 12.0 - tie_cubes / 48.0;
        let z = (statistic - all_ranks / 2.0) / variance.sqrt();
        (normal_tails(z), TestMethod::Asymptotic)
    };
    Some(TestResult::new(statistic, p_value, method))
}

/// Twice the share of all signs of the ranks 1 to `count` whose positive ranks sum to at most
/// `statistic`, a whole number.
fn exact_signed_rank(count: usize, statistic: f64) -> f64 {
    // ways[s]: the share of signs whose positive ranks sum to s.
    let mut ways = vec![0.0; count * (count + 1) / 2 + 1];
    ways[0] = 1.0;
    for rank in 1..=count {
        for sum in (0..ways.len()).rev() {
            let with = sum.checked_sub(rank).map_or(0.0, |rest| ways[rest]);
            ways[sum] = f64::midpoint(ways[sum], with);
        }
    }
    let tail: f64 = ways
        .iter()
        .enumerate()
        .take_while(|(sum, _)| float(*sum) <= statistic)
        .map(|(_, share)| share)
        .sum();
    (2.0 * tail).min(1.0)
}

/// The test that two proportions, `(successes, trials)` each, are the same, of two different sets
/// of rows: such as the outcomes of two halves of the traffic. On the *same* rows ask
/// [`McNemar`](super::McNemar).
///
/// # Formula
///
/// ```text
/// z = (p_1 - p_2) / sqrt( p (1 - p) (1/n_1 + 1/n_2) ),   p = (k_1 + k_2) / (n_1 + n_2)
/// ```
///
/// where `k` of `n` trials succeeded. No unit; above 0 where the first proportion is the larger. The
/// p-value is that of the normal distribution: a large-sample method, from about five successes and
/// five failures on each side. `None` without trials, for more successes than trials, and when all
/// or none succeed, which shows no spread.
///
/// # Reference
///
/// J. L. Fleiss, B. Levin, M. C. Paik (2003), Statistical methods for rates and proportions,
/// DOI 10.1002/0471445428.
///
/// ```
/// use pmmds::promote::two_proportion_test;
/// assert!(two_proportion_test((450, 1000), (480, 1000)).unwrap().p_value > 0.1);
/// let found = two_proportion_test((45, 100), (60, 100)).unwrap();
/// assert!((found.statistic + 2.124).abs() < 0.001 && (found.p_value - 0.0337).abs() < 0.0001);
/// assert_eq!(two_proportion_test((0, 0), (1, 2)), None);
/// ```
#[must_use]
pub fn two_proportion_test(first: (u64, u64), second: (u64, u64)) -> Option<TestResult> {
    let [(k1, n1), (k2, n2)] = [proportion(first)?, proportion(second)?];
    let pooled = (k1 + k2) / (n1 + n2);
    let variance = pooled * (1.0 - pooled) * (1.0 / n1 + 1.0 / n2);
    let statistic = (k1 / n1 - k2 / n2) / variance.sqrt();
    let p_value = normal_tails(statistic);
    (variance > 0.0).then(|| TestResult::new(statistic, p_value, TestMethod::Asymptotic))
}

/// Wilson's interval of a proportion of `successes` in `trials`, such as an accuracy or a precision,
/// at `level`.
///
/// # Formula
///
/// ```text
/// ( k + z^2/2 -/+ z sqrt( k (n - k) / n + z^2/4 ) ) / ( n + z^2 )
/// ```
///
/// where `z` is the normal quantile of `(1 + level) / 2`. It stays within `[0, 1]`, has a width also
/// when all or none succeed, and keeps its level down to about ten trials. `None` without trials,
/// for more successes than trials, and for a level that is not between 0 and 1.
///
/// # Reference
///
/// E. B. Wilson (1927), Probable inference, the law of succession, and statistical inference,
/// DOI 10.1080/01621459.1927.10502953.
///
/// ```
/// use pmmds::promote::wilson_interval;
/// let (low, high) = wilson_interval(0, 10, 0.95).unwrap();
/// assert!(low == 0.0 && (high - 0.2775).abs() < 0.0001, "no success in ten is not never");
/// assert_eq!(wilson_interval(11, 10, 0.95), None);
/// ```
#[must_use]
pub fn wilson_interval(successes: u64, trials: u64, level: f64) -> Option<(f64, f64)> {
    let (k, n) = proportion((successes, trials))?;
    if !(level > 0.0 && level < 1.0) {
        return None;
    }
    let z = quantile(level);
    let size = z.mul_add(z, n);
    let centre = (z * z).mul_add(0.5, k);
    let reach = z * (z * z).mul_add(0.25, k * (n - k) / n).sqrt();
    // The ends are exact there, whatever rounding does.
    let low = if successes == 0 { 0.0 } else { (centre - reach) / size };
    let high = if successes == trials { 1.0 } else { (centre + reach) / size };
    Some((low, high))
}

#[expect(clippy::cast_precision_loss, reason = "counts above 2^53 may lose their last digits")]
fn proportion((successes, trials): (u64, u64)) -> Option<(f64, f64)> {
    (trials > 0 && successes <= trials).then_some((successes as f64, trials as f64))
}

/// Champion less challenger, all finite.
fn differences(champion: &[f64], challenger: &[f64]) -> Option<Vec<f64>> {
    if champion.len() != challenger.len() {
        return None;
    }
    let differences: Vec<f64> = champion.iter().zip(challenger).map(|(a, b)| a - b).collect();
    differences.iter().all(|difference| difference.is_finite()).then_some(differences)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::close;

    #[test]
    fn the_exact_signed_rank_counts_all_signs() {
        for count in 1..=12_usize {
            let all = 1_u32 << count;
            let sum = |signs: u32| -> usize {
                (0..count).filter(|rank| signs >> rank & 1 == 1).map(|rank| rank + 1).sum()
            };
            for statistic in 0..=count * (count + 1) / 4 {
                let at_most = (0..all).filter(|signs| sum(*signs) <= statistic).count();
                let want = (2.0 * float(at_most) / f64::from(all)).min(1.0);
                let got = exact_signed_rank(count, float(statistic));
                assert!(close(got, want, 1e-12), "{statistic} of {count}: {got} for {want}");
            }
        }
    }

    #[test]
    fn ties_and_zeros_share_ranks() {
        // Differences 0, 1, 1, -1, 2: ranks 2, 2, 2 and 4 of the four that count.
        let found =
            signed_rank_test(&[5.0, 2.0, 2.0, 1.0, 4.0], &[5.0, 1.0, 1.0, 2.0, 2.0]).unwrap();
        assert!(close(found.statistic, 2.0, 1e-12));
        // n(n+1)(2n+1)/24 = 7.5, less (27 - 3)/48.
        assert!(close(found.p_value, normal_tails(3.0 / 7.0_f64.sqrt()), 1e-12));
    }

    #[test]
    fn what_cannot_be_tested_has_no_result() {
        assert_eq!(paired_t_test(&[1.0], &[2.0]), None);
        assert_eq!(paired_t_test(&[], &[]), None);
        assert_eq!(paired_t_test(&[1.0, 2.0], &[2.0]), None);
        assert_eq!(paired_t_test(&[1.0, f64::NAN], &[2.0, 1.0]), None);
        assert_eq!(signed_rank_test(&[1.0, 1.0], &[1.0, 1.0]), None);
        assert_eq!(signed_rank_test(&[f64::INFINITY], &[1.0]), None);
        assert_eq!(two_proportion_test((2, 2), (3, 3)), None);
        assert_eq!(two_proportion_test((3, 2), (3, 3)), None);
        assert_eq!(wilson_interval(0, 0, 0.95), None);
        assert_eq!(wilson_interval(1, 2, 95.0), None);
        assert_eq!(wilson_interval(1, 2, f64::NAN), None);
    }
}
