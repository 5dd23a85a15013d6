//! Draws without replacement, for the simulated chi-square test.
//!
//! `rand_distr` has this distribution, with a set-up that takes time in proportion to the rows:
//! seconds for each table of a large reference.

use rand_chacha::rand_core::RngCore;
use statrs::function::factorial::ln_factorial;

/// Draws up to which each of them is made by itself; ratio of uniforms is faster above.
const ONE_BY_ONE: u64 = 12;

/// A uniform number in `[0, 1)` with 53 random bits.
#[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
fn uniform(rng: &mut impl RngCore) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// How many of `draws` rows, dealt from `rows` without replacement, fall on the `marked` ones.
///
/// `marked` and `draws` are at most `rows`. Takes the same time at any size, but for sizes up to a
/// dozen, where each draw is made by itself.
///
/// # Reference
///
/// E. Stadlober, *The ratio of uniforms approach for generating discrete random variates*, Journal
/// of Computational and Applied Mathematics 31, 1990, DOI 10.1016/0377-0427(90)90349-5.
pub(super) fn hypergeometric(rng: &mut impl RngCore, rows: u64, marked: u64, draws: u64) -> u64 {
    // The law is symmetric: in marked and drawn, and in each and its complement. So it is enough
    // to draw at most half of the rows, of which at most half are marked.
    if draws > rows / 2 {
        return marked - hypergeometric(rng, rows, marked, rows - draws);
    }
    if marked > rows / 2 {
        return draws - hypergeometric(rng, rows, rows - marked, draws);
    }
    let (few, many) = (marked.min(draws), marked.max(draws));
    if few <= ONE_BY_ONE { one_by_one(rng, rows, many, few) } else { ratio(rng, rows, many, few) }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
fn one_by_one(rng: &mut impl RngCore, rows: u64, marked: u64, draws: u64) -> u64 {
    let mut left = marked;
    for dealt in 0..draws {
        if uniform(rng) * ((rows - dealt) as f64) < left as f64 {
            left -= 1;
        }
    }
    marked - left
}

/// Ratio of uniforms with a table mountain hat around the mode.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts stay below 2^53, and a drawn point lies between 0 and `draws`"
)]
fn ratio(rng: &mut impl RngCore, rows: u64, marked: u64, draws: u64) -> u64 {
    let [n, k, d] = [rows, marked, draws].map(|count| count as f64);
    let share = k / n;
    let centre = d.mul_add(share, 0.5);
    let spread = ((n - d) * d * share * (1.0 - share) / (n - 1.0) + 0.5).sqrt();
    // Both constants are Stadlober's: 2 sqrt(2 / e) and 3 - 2 sqrt(3 / e).
    let width = 1.715_527_769_921_413_5_f64.mul_add(spread, 0.898_916_162_058_898_8);
    // The mass at `x`, but for a factor.
    let ln_mass = |x: u64| {
        -(ln_factorial(x)
            + ln_factorial(marked - x)
            + ln_factorial(draws - x)
            + ln_factorial(rows - marked - draws + x))
    };
    let mode = ((d + 1.0) * (k + 1.0) / (n + 2.0)).floor() as u64;
    let top = ln_mass(mode);
    loop {
        let height = 1.0 - uniform(rng);
        let point = width.mul_add((uniform(rng) - 0.5) / height, centre);
        if point < 0.0 || point >= d + 1.0 {
            continue;
        }
        let x = point as u64;
        if 2.0 * height.ln() <= ln_mass(x) - top {
            return x;
        }
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    /// Mass function by logarithms of factorials.
    fn mass(rows: u64, marked: u64, draws: u64, x: u64) -> f64 {
        if x > marked || x > draws || draws - x > rows - marked {
            return 0.0;
        }
        let choose = |n: u64, k: u64| ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k);
        (choose(marked, x) + choose(rows - marked, draws - x) - choose(rows, draws)).exp()
    }

    #[test]
    fn draws_follow_the_law() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let made = 40_000_u32;
        for (rows, marked, draws) in [
            (8, 4, 4),
            (20, 15, 18),
            (100, 30, 40),
            (100, 70, 60),
            (1000, 20, 500),
            (5000, 2500, 2500),
            (4400, 13, 2100),
            (1_000_000, 50, 400_000),
        ] {
            let mut counts = vec![0_u32; usize::try_from(marked).unwrap() + 1];
            for _ in 0..made {
                let x = hypergeometric(&mut rng, rows, marked, draws);
                counts[usize::try_from(x).unwrap()] += 1;
            }
            for (x, count) in counts.iter().enumerate() {
                let expected = f64::from(made) * mass(rows, marked, draws, x as u64);
                // Six standard deviations, and a few where the law is discrete and thin.
                let bound = 6.0f64.mul_add(expected.sqrt(), 4.0);
                let off = (f64::from(*count) - expected).abs();
                assert!(off < bound, "{rows} {marked} {draws} {x}: {count}, expected {expected}");
            }
        }
    }

    #[test]
    fn the_edges_have_no_choice() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for rows in [1, 2, 3, 40] {
            for marked in 0..=rows {
                assert_eq!(hypergeometric(&mut rng, rows, marked, rows), marked);
                assert_eq!(hypergeometric(&mut rng, rows, marked, 0), 0);
            }
        }
    }
}
