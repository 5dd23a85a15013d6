//! Columns of numbers for the benches.

/// A fixed sequence without pattern (SplitMix64, G. Steele et al., 2014).
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In `[0, 1)`.
    #[expect(clippy::cast_precision_loss, reason = "53 bits")]
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Standard normal (G. E. P. Box and M. E. Muller, 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// What columns of real data look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// continuous and symmetric
    Normal,
    /// incomes, durations: far to the right
    Skewed,
    /// amounts in cents
    Cents,
    /// whole numbers up to a hundred
    Years,
    /// half zeros, the rest continuous
    Spike,
    /// five whole numbers
    Counts,
    /// 95 % ones
    Flag,
    /// continuous, every twentieth missing
    Gaps,
    /// in increasing order
    Sorted,
}

impl Shape {
    pub(crate) const ALL: [Self; 9] = [
        Self::Normal,
        Self::Skewed,
        Self::Cents,
        Self::Years,
        Self::Spike,
        Self::Counts,
        Self::Flag,
        Self::Gaps,
        Self::Sorted,
    ];

    /// Whether only whole numbers occur.
    pub(crate) fn is_integer(self) -> bool {
        matches!(self, Self::Years | Self::Counts | Self::Flag)
    }

    /// `rows` numbers of this shape, moved by `shift` standard deviations.
    pub(crate) fn column(self, rows: usize, seed: u64, shift: f64) -> Vec<f64> {
        let mut random = Random(seed);
        let mut number = |row: usize| {
            let x = random.normal() + shift;
            match self {
                Self::Normal => x,
                Self::Skewed => 1.5f64.mul_add(x, 3.0).exp(),
                Self::Cents => (30.0f64.mul_add(x, 65.0).abs() * 100.0).round() / 100.0,
                Self::Years => x.mul_add(18.0, 40.0).round().clamp(0.0, 100.0),
                Self::Spike => {
                    if random.bits().is_multiple_of(2) {
                        0.0
                    } else {
                        x.exp()
                    }
                }
                Self::Counts => x.abs().floor().min(4.0),
                Self::Flag => f64::from(u8::from(x > -1.645)),
                Self::Gaps if row % 20 == 7 => f64::NAN,
                Self::Gaps => x,
                #[expect(clippy::cast_precision_loss, reason = "a row number")]
                Self::Sorted => row as f64,
            }
        };
        (0..rows).map(&mut number).collect()
    }
}
