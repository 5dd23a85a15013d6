//! The report as a table in a terminal.

use std::fmt;

use super::report::{DriftReport, FeatureDrift, FeatureStatus, Signal, Verdict};

/// Widest feature name that keeps its column.
const NAME_WIDTH: usize = 28;

impl fmt::Display for DriftReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (drifted, all) = (self.drifted().count(), self.features.len());
        match &self.verdict {
            Verdict::Stable | Verdict::FeatureDrift | Verdict::Drift => writeln!(
                f,
                "{}: {drifted} of {all} features drifted (PSI >= {}; {} make drift)",
                self.verdict.headline(),
                self.settings.psi_threshold,
                self.settings.min_drift_features.min(all)
            )?,
            verdict => writeln!(f, "{}: no verdict", verdict.headline())?,
        }
        writeln!(
            f,
            "{} rows against {} of the reference (profile {}), {} requests refused",
            self.current_rows,
            self.reference_rows,
            self.profile.short(),
            self.rejected_requests
        )?;
        if !self.features.is_empty() {
            let widest = self.features.iter().map(|x| x.name.chars().count()).max().unwrap_or(0);
            let width = widest.clamp(10, NAME_WIDTH);
            writeln!(
                f,
                "\n{:width$} {:>7}  {:<11} {:<8} {:>8}  what changed",
                "feature", "PSI", "severity", "status", "p (adj.)"
            )?;
            for feature in self.features.iter().chain(&self.prediction) {
                write_row(f, feature, width)?;
            }
        }
        if !self.signals.is_empty() {
            writeln!(f, "\nsignals")?;
            self.signals.iter().try_for_each(|signal| writeln!(f, "  {signal}"))?;
        }
        Ok(())
    }
}

fn write_row(f: &mut fmt::Formatter<'_>, feature: &FeatureDrift, width: usize) -> fmt::Result {
    let status = match feature.status {
        FeatureStatus::Stable => "stable",
        FeatureStatus::Elevated => "elevated",
        FeatureStatus::Drifted => "drifted",
    };
    let p_value = match &feature.significance {
        Some(test) if test.adjusted_p_value < 1e-4 => "< 0.0001".to_owned(),
        Some(test) => format!("{:.4}", test.adjusted_p_value),
        None => "-".to_owned(),
    };
    let name: String = feature.name.chars().take(width).collect();
    writeln!(
        f,
        "{name:width$} {:>7.4}  {:<11} {status:<8} {p_value:>8}  {}",
        feature.psi,
        feature.severity.word(),
        feature.sentence
    )
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: &f64| format!("{:.1} %", 100.0 * share);
        match self {
            Self::PredictionDrift { psi, threshold } => {
                write!(f, "predictions drifted: PSI {psi:.4} (threshold {threshold})")
            }
            Self::MissingValues { feature, reference, current, .. } => {
                write!(f, "{feature}: missing {} -> {}", percent(reference), percent(current))
            }
            Self::UnseenCategories { feature, share, examples, .. } => {
                write!(f, "{feature}: {} outside the levels", percent(share))?;
                if examples.is_empty() { Ok(()) } else { write!(f, " ({})", examples.join(", ")) }
            }
            Self::OutOfRange { feature, share, .. } => {
                write!(f, "{feature}: {} outside the range of the reference", percent(share))
            }
            Self::Rejected { share, feature, rule, .. } => {
                write!(f, "{} of the requests refused", percent(share))?;
                match (feature, rule) {
                    (Some(feature), Some(rule)) => {
                        write!(f, ", most for {feature} {}", rule.code())
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}
