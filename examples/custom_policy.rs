//! A promotion policy of your own, put together from rules and a closure.
//!
//! ```text
//! cargo run --example custom_policy
//! ```

use std::error::Error;

use pmmds::model::Task;
use pmmds::promote::{
    Candidate, Candidates, Champion, IntervalAboveZero, Metric, MinImprovement, PairedRows,
    PromotionPolicy, PromotionPolicyExt, Validation, ValidationPassed, policy_fn,
};
use pmmds::registry::VersionId;

fn main() -> Result<(), Box<dyn Error>> {
    // Better by a point of ROC-AUC, by more than luck, and not by overlooking more of those who
    // leave.
    let policy = ValidationPassed
        .and(MinImprovement { metric: Metric::RocAuc, at_least: 0.01 })
        .and(IntervalAboveZero { metric: Metric::RocAuc })
        .and(policy_fn("recall_not_worse", |candidates| {
            match candidates.improvement(Metric::Recall) {
                Some(gain) if gain >= 0.0 => Ok(format!("Recall {gain:+.4}.")),
                Some(loss) => Err(format!("Recall {loss:+.4}, which overlooks more of them.")),
                None => Err("Recall is unknown.".to_owned()),
            }
        }));

    // Both models scored the same 400 customers, of whom one in four leaves. The challenger tells
    // them apart better, but hardly calls anybody likely to leave.
    let labels: Vec<f64> = (0..400).map(|i| f64::from(u8::from(i % 4 == 0))).collect();
    let scores = |noise: f64| -> Vec<f64> {
        let luck = (0..400_u32).map(|i| f64::from(i * 37 % 101) / 100.0);
        labels.iter().zip(luck).map(|(label, luck)| noise.mul_add(luck, 0.2 * label)).collect()
    };
    let rows = PairedRows::new(Task::binary(), &scores(0.7), &scores(0.5), &labels)?;

    let champion =
        Candidate::new(VersionId::FIRST, Validation::Passed).evaluation(rows.champion().clone());
    let challenger =
        Candidate::new("2".parse()?, Validation::Passed).evaluation(rows.challenger().clone());
    let differences = [rows.difference(Metric::RocAuc, 0.95)?];
    let candidates = Candidates::new(&challenger, Champion::Serving(&champion), &differences);

    let decision = policy.decide(candidates);
    for reason in &decision.reasons {
        let met = if reason.passed { "met" } else { "not met" };
        println!("{:20} {met:8} {}", reason.criterion, reason.sentence);
    }
    println!("\n{}", decision.sentence(candidates, Metric::RocAuc));
    Ok(())
}
