//! Sorted numbers, and the walk over two of them.

/// The known numbers of one side, sorted once for every test.
///
/// ```
/// use pmmds::drift::two_sample::Sample;
/// let sample = Sample::new(&[3.0, f64::NAN, f64::INFINITY, 1.0])?;
/// assert_eq!(sample.values(), [1.0, 3.0, f64::INFINITY]);
/// assert_eq!((sample.missing(), sample.infinite()), (1, 1));
///
/// let error = Sample::new(&[f64::NAN, f64::NAN]).unwrap_err();
/// assert_eq!(error.to_string(), "no known number among 2");
/// # Ok::<(), pmmds::drift::two_sample::SampleError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    // ascending, at least one, no NaN; -0.0 is 0.0
    values: Vec<f64>,
    missing: usize,
    infinite: usize,
}

impl Sample {
    /// The numbers of `values`. NaN is left out and [counted](Self::missing), infinities stay.
    ///
    /// # Errors
    ///
    /// [`SampleError`] where nothing is left.
    pub fn new(values: &[f64]) -> Result<Self, SampleError> {
        Self::keeping(values, |x| !x.is_nan())
    }

    /// The finite numbers of `values`. Infinities are left out too, and count as
    /// [missing](Self::missing).
    ///
    /// # Errors
    ///
    /// [`SampleError`] where nothing is left.
    ///
    /// ```
    /// use pmmds::drift::two_sample::Sample;
    /// let sample = Sample::finite(&[3.0, f64::NAN, f64::INFINITY, 1.0])?;
    /// assert_eq!((sample.values(), sample.missing()), (&[1.0, 3.0][..], 2));
    /// # Ok::<(), pmmds::drift::two_sample::SampleError>(())
    /// ```
    pub fn finite(values: &[f64]) -> Result<Self, SampleError> {
        Self::keeping(values, f64::is_finite)
    }

    fn keeping(all: &[f64], keep: impl Fn(f64) -> bool) -> Result<Self, SampleError> {
        // -0.0 + 0.0 is 0.0: both are one value.
        let mut values: Vec<f64> = all.iter().filter(|x| keep(**x)).map(|x| x + 0.0).collect();
        if values.is_empty() {
            return Err(SampleError { given: all.len() });
        }
        values.sort_unstable_by(f64::total_cmp);
        let infinite = values.iter().filter(|x| x.is_infinite()).count();
        Ok(Self { missing: all.len() - values.len(), infinite, values })
    }

    /// The known numbers, ascending.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// How many known numbers there are, at least 1.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// How many numbers were left out.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// How many of the known numbers are infinite.
    #[must_use]
    pub fn infinite(&self) -> usize {
        self.infinite
    }
}

/// A sample has no known number.
///
/// ```
/// use pmmds::drift::two_sample::Sample;
/// let error = Sample::new(&[]).unwrap_err();
/// assert_eq!(error.to_string(), "no known number among 0");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no known number among {given}")]
pub struct SampleError {
    given: usize,
}

/// One value of the pooled samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step {
    pub(super) value: f64,
    // how many of reference and window have this value, not both 0
    pub(super) here: (usize, usize),
    // how many of reference and window are at most this value
    pub(super) upto: (usize, usize),
}

/// Every different value of both samples once, ascending.
pub(super) fn steps<'a>(
    reference: &'a Sample,
    current: &'a Sample,
) -> impl Iterator<Item = Step> + 'a {
    let (a, b) = (reference.values(), current.values());
    let (mut i, mut j) = (0, 0);
    std::iter::from_fn(move || {
        let value = match (a.get(i), b.get(j)) {
            (Some(x), Some(y)) => x.min(*y),
            (Some(x), None) | (None, Some(x)) => *x,
            (None, None) => return None,
        };
        let run = |values: &[f64]| values.iter().take_while(|x| **x <= value).count();
        let here = (run(&a[i..]), run(&b[j..]));
        (i, j) = (i + here.0, j + here.1);
        Some(Step { value, here, upto: (i, j) })
    })
}

/// A number of rows as a float.
#[expect(clippy::cast_precision_loss, reason = "a number of rows stays below 2^53")]
pub(super) fn float(rows: usize) -> f64 {
    rows as f64
}
