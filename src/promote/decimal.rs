//! Comparing and printing numbers as the decimals that people wrote them as.

/// Whether `value` reaches `limit`, both taken for the decimals they were written as.
///
/// 0.9632 - 0.9622 is 0.00099999999999989 in binary, and is 0.001 for everyone who reads the
/// report. So `value` may fall short by 4 units in the last place of `magnitude`, the largest
/// number that went into it: more than the roundings of writing two decimals down and subtracting
/// or dividing them can add up to (at most 2 such units), and so little that decimals of up to 14
/// places behave as exact ones. NaN reaches nothing.
pub(super) fn reaches(value: f64, limit: f64, magnitude: f64) -> bool {
    let slack = 4.0 * f64::EPSILON * magnitude.abs().max(limit.abs());
    value >= limit - slack
}

/// The fewest decimals, at least `least`, at which `a` and `b` look different; `least` if 12 are not
/// enough, for then rounding is all that they differ by.
pub(super) fn telling_decimals(a: f64, b: f64, least: usize) -> usize {
    (least..=12).find(|&n| format!("{a:.n$}") != format!("{b:.n$}")).unwrap_or(least)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_that_binary_spoils() {
        let spoilt = |(challenger, champion): (f64, f64)| challenger - champion < 0.001;
        assert!(spoilt((0.9632, 0.9622)), "else this test shows nothing");
        for (challenger, champion) in [(0.9632, 0.9622), (0.845, 0.844), (0.003, 0.002)] {
            assert!(reaches(challenger - champion, 0.001, challenger), "{challenger}");
        }
        assert!(!reaches(0.845 - 0.844_000_000_000_01, 0.001, 0.845));
    }

    #[test]
    fn what_is_no_number_reaches_nothing() {
        assert!(!reaches(f64::NAN, 0.0, 1.0));
        assert!(!reaches(1.0, f64::NAN, 1.0));
        assert!(!reaches(f64::NAN, f64::NAN, f64::NAN));
        assert!(!reaches(1.2, f64::INFINITY, f64::INFINITY));
    }

    #[test]
    fn decimals_grow_until_the_difference_shows() {
        assert_eq!(telling_decimals(0.0042, 0.0, 4), 4);
        assert_eq!(telling_decimals(0.00096, 0.001, 4), 5);
        assert_eq!(telling_decimals(0.000_004, 0.0, 4), 6);
        assert_eq!(telling_decimals(0.001, 0.001, 4), 4);
        assert_eq!(telling_decimals(1e-16, 0.0, 4), 4);
    }

    proptest! {
        #[test]
        fn decimals_compare_as_integers_do(
            a in 0_i32..=1_000_000_000, b in 0_i32..=1_000_000_000, wiggle in -1_i32..=1
        ) {
            let decimal = |billionths: i32| f64::from(billionths) / 1e9;
            let limit = (a - b).saturating_add(wiggle);
            prop_assert_eq!(
                reaches(decimal(a) - decimal(b), decimal(limit), decimal(a.max(b))),
                a - b >= limit
            );
        }
    }
}
