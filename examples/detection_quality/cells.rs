//! One cell of the table: many windows of one population, one change and one size.

use indicatif::ProgressBar;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use statrs::distribution::{Beta, ContinuousCDF as _};

use crate::population::{Change, Population};
use crate::rules::{self, Trial};
use crate::{Arguments, Outcome};

/// What is simulated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell<'p> {
    pub(crate) population: &'p Population,
    pub(crate) change: Change,
    pub(crate) rows: usize,
    pub(crate) windows: usize,
}

/// What the rules did in a cell.
#[derive(Debug, Clone)]
pub(crate) struct Counted {
    pub(crate) population: String,
    pub(crate) change: Change,
    pub(crate) rows: usize,
    /// per rule: windows in which it flagged a feature; under a change, one that had truly drifted
    pub(crate) hits: Vec<Binomial>,
}

/// Successes among trials.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Binomial {
    pub(crate) hits: usize,
    pub(crate) trials: usize,
}

impl Binomial {
    #[expect(clippy::cast_precision_loss, reason = "a number of windows")]
    pub(crate) fn share(self) -> f64 {
        self.hits as f64 / self.trials as f64
    }

    /// The 95 % interval of C. J. Clopper and E. S. Pearson, 1934, DOI 10.1093/biomet/26.4.404.
    #[expect(clippy::cast_precision_loss, reason = "a number of windows")]
    pub(crate) fn interval(self) -> (f64, f64) {
        let (hits, misses) = (self.hits as f64, (self.trials - self.hits) as f64);
        let quantile = |a, b, p| Beta::new(a, b).map_or(f64::NAN, |beta| beta.inverse_cdf(p));
        let low = if self.hits == 0 { 0.0 } else { quantile(hits, misses + 1.0, 0.025) };
        let high = if self.hits == self.trials { 1.0 } else { quantile(hits + 1.0, misses, 0.975) };
        (low, high)
    }
}

impl Cell<'_> {
    /// Simulates the cell, whose number is `number`.
    pub(crate) fn count(
        &self,
        arguments: &Arguments,
        number: usize,
        bar: &ProgressBar,
    ) -> Outcome<Counted> {
        let rules = rules::all();
        let drifted = self.population.drifted(self.change);
        let mut hits = vec![Binomial { hits: 0, trials: self.windows }; rules.len()];
        for window in 0..self.windows {
            let mut rng = ChaCha8Rng::seed_from_u64(arguments.seed);
            rng.set_stream(((number as u64) << 32) | window as u64);
            let reference =
                self.population.draw(&mut rng, Change::None, arguments.reference.get())?;
            let window = self.population.draw(&mut rng, self.change, self.rows)?;
            let trial = Trial::new(&reference, &window)?;
            for (rule, hits) in rules.iter().zip(&mut hits) {
                let flagged = rule.flagged(&trial)?;
                let hit = match self.change {
                    Change::None => flagged.contains(&true),
                    _ => {
                        flagged.iter().zip(&drifted).any(|(flagged, drifted)| *flagged && *drifted)
                    }
                };
                hits.hits += usize::from(hit);
            }
            bar.inc(1);
        }
        Ok(Counted {
            population: self.population.name.clone(),
            change: self.change,
            rows: self.rows,
            hits,
        })
    }
}
