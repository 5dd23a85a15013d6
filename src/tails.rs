//! Tails of the laws that p-values are read off, one of each for everything that tests.

use statrs::function::beta::checked_beta_reg;
use statrs::function::erf::erfc;
use statrs::function::gamma::checked_gamma_ur;

/// Chance that the normal law gives `z` or more.
pub(crate) fn normal_tail(z: f64) -> f64 {
    0.5 * erfc(z * std::f64::consts::FRAC_1_SQRT_2)
}

/// Chance that the normal law gives a number at least as far from 0 as `z`.
pub(crate) fn normal_tails(z: f64) -> f64 {
    2.0 * normal_tail(z.abs())
}

/// Chance that Student's law with `freedom` degrees of freedom gives `t` or more.
pub(crate) fn student_tail(t: f64, freedom: f64) -> f64 {
    let share = freedom / t.mul_add(t, freedom);
    // It refuses nothing between 0 and 1; were it to, nothing would be proven.
    let outside = checked_beta_reg(0.5 * freedom, 0.5, share).unwrap_or(1.0);
    if t >= 0.0 { 0.5 * outside } else { 0.5f64.mul_add(-outside, 1.0) }
}

/// Chance that the chi-square law with `freedom` degrees of freedom gives `statistic` or more.
pub(crate) fn chi_square_tail(statistic: f64, freedom: f64) -> f64 {
    if statistic > 0.0 {
        // An argument that it refuses is one that overflowed: nothing is left of the tail.
        checked_gamma_ur(freedom / 2.0, statistic / 2.0).unwrap_or(0.0).clamp(0.0, 1.0)
    } else {
        1.0
    }
}

/// Chance that as many trials as `hits` and `misses` together give `hits` or more, each of them with
/// the chance `share`.
pub(crate) fn binomial_tail(hits: f64, misses: f64, share: f64) -> f64 {
    if hits > 0.0 {
        // It refuses nothing between 0 and 1; were it to, nothing would be proven.
        checked_beta_reg(hits, misses + 1.0, share).unwrap_or(1.0)
    } else {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::close;

    /// Relative: what the functions of statrs keep to, as in the oracles.
    const P_VALUE: f64 = 1e-9;

    #[test]
    fn one_degree_of_freedom_is_a_normal_squared() {
        for z in [0.1, 1.0, 2.5, 8.0, 30.0] {
            assert!(close(chi_square_tail(z * z, 1.0), normal_tails(z), P_VALUE), "{z}");
            assert!(close(normal_tail(z), 0.5 * normal_tails(-z), P_VALUE), "{z}");
        }
    }

    #[test]
    fn student_of_one_degree_is_cauchy() {
        for t in [-3.0, 0.0, 0.5, 12.7] {
            let want = 0.5 - f64::atan(t) / std::f64::consts::PI;
            assert!(close(student_tail(t, 1.0), want, P_VALUE), "{t}");
        }
    }
    #[test]
    fn the_tail_of_the_binomial_is_its_sum() {
        // Of four trials.
        let share = 0.3_f64;
        let [all, three] = [share.powi(4), 4.0 * share.powi(3) * (1.0 - share)];
        assert!(close(binomial_tail(4.0, 0.0, share), all, P_VALUE));
        assert!(close(binomial_tail(3.0, 1.0, share), all + three, P_VALUE));
        let none = (1.0 - share).powi(4);
        assert!(close(binomial_tail(1.0, 3.0, share), 1.0 - none, P_VALUE));
        assert!(close(binomial_tail(0.0, 4.0, share), 1.0, P_VALUE));
    }
}
