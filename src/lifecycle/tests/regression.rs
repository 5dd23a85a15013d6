//! The same flows where a number is predicted: what a customer is charged in a year.

use super::*;
use crate::drift::Verdict;
use crate::promote::Metric;
use crate::record::Target;
use model::Line;

/// What the customer of row `number` is really charged: more than the charges say in the second
/// era, and never exactly what a line says.
fn truth(era: Era, schema: &FeatureSchema, number: u64) -> f64 {
    let (row, _) = row(schema, era, number);
    let Value::Number(charges) = row.values()[0] else { panic!("charges are known") };
    let noise = 20.0 * (uniform(7 * number + 5) - 0.5);
    match era {
        Era::Two => 900.0 - charges + noise,
        _ => 12.0 * charges - 150.0 + noise,
    }
}

/// A world whose reference has numbers to learn.
fn world_of_numbers() -> World {
    let world = World::new();
    let mut reference = Dataset::with_target(Arc::clone(&world.schema), Target::Number);
    for number in 0..REFERENCE {
        let (row, _) = row(&world.schema, Era::One, number);
        let label = truth(Era::One, &world.schema, number);
        reference.push(&row, label, format!("customer {number}"));
    }
    World { reference, ..world }
}

impl World {
    fn lines(&self) -> Retraining {
        Retraining::new(self.promotion(), Arc::new(Line), formats())
            .settings(by_time(0.5).cooldown(Duration::ZERO))
    }

    async fn retrain_line(&self, retraining: Retraining) -> Result<Retrained, Error> {
        let request = RetrainRequest::new(&self.model, Trigger::Manual, &self.reference);
        retraining.run(&request, &()).await
    }

    /// Traffic with outcomes that are numbers.
    async fn serve_numbers(&self, era: Era, count: u64) {
        let ids = self.serve(era, count, false).await;
        let outcome = |id: &Uuid| Outcome {
            request_id: *id,
            outcome: truth(era, &self.schema, u64::try_from(id.as_u128()).unwrap()),
            observed_at: None,
        };
        let outcomes: Vec<Outcome> = ids.iter().map(outcome).collect();
        self.log.record_outcomes(&outcomes).await.unwrap();
    }
}

#[tokio::test]
async fn the_loop_goes_round_on_rmse() {
    let world = world_of_numbers();
    let first = world.retrain_line(world.lines()).await.unwrap();
    assert_eq!(first.promoted(), Some(version(1)), "{:?}", first.run);
    let served = world.served().await;
    let metrics = &served.artifact().training().metrics;
    assert!(metrics["rmse"] < 8.0 && metrics["r2"] > 0.99, "{metrics:?}");
    assert!(!metrics.contains_key("roc_auc"));
    let scores = served.profile().score().unwrap();
    assert!(scores.summary().max.unwrap() > 900.0, "scores are no probabilities");

    world.serve_numbers(Era::One, 300).await;
    let quiet = world.look(&world.monitor()).await.unwrap();
    assert_eq!(quiet.run.report.verdict, Verdict::Stable, "{}", quiet.run.report);

    world.serve_numbers(Era::Two, 300).await;
    let done = world.look(&world.monitor()).await.unwrap();
    let alert = done.alert.unwrap();
    assert!(done.run.report.prediction.is_some(), "predictions are watched");
    let request = RetrainRequest::for_alert(&alert, &world.reference);
    let settings = by_time(0.5).cooldown(Duration::ZERO).recent(HOUR);
    let second = world.lines().settings(settings).run(&request, &()).await.unwrap();
    assert_eq!(second.promoted(), Some(version(2)), "{:?}", second.run);
    let record = second.decision.unwrap().record.unwrap();
    assert_eq!(record.primary_metric_name, Metric::Rmse);
    let improvement = record.primary_metric_improvement.unwrap();
    assert!(improvement > 0.0, "a smaller error is an improvement: {improvement}");
    let reason = &record.promotion_reason;
    assert!(reason.starts_with("Challenger v2 outperforms champion v1"), "{reason}");
    assert!(reason.contains("rmse: ") && reason.contains("lower is better"), "{reason}");
    let sure = record.differences.iter().find(|d| d.metric() == Metric::Rmse).unwrap();
    assert!(sure.upper() < 0.0, "{sure:?}");
    world.check("numbers").await;
}

#[tokio::test]
async fn a_larger_error_is_not_promoted() {
    let world = world_of_numbers();
    world.retrain_line(world.lines()).await.unwrap();
    world.serve_numbers(Era::One, 300).await;
    // Of the same world: no line is better than the first by a hundredth.
    let done = world.retrain_line(world.lines()).await.unwrap();
    assert_eq!(done.promoted(), None);
    let decision = done.decision.unwrap();
    assert!(decision.reason.contains("rmse"), "{}", decision.reason);
    assert!(!decision.reason.contains("outperforms"), "{}", decision.reason);
    let record = decision.record.unwrap();
    assert_eq!(record.metric_improvement, Some(false));
    assert_eq!(world.champion().await, Some(version(1)));
    world.check("rejected").await;
}

#[tokio::test]
async fn classes_and_numbers_do_not_mix() {
    // A trainer of classes for a reference of numbers.
    let world = world_of_numbers();
    let error = world.retrain_line(world.retraining()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let expected = "logistic predicts 0 or 1, the labels are a finite number";
    assert!(error.to_string().contains(expected), "{error}");
    assert_eq!(world.champion().await, None);

    // A reference of classes for a champion of numbers.
    world.retrain_line(world.lines()).await.unwrap();
    let classes = World::new().reference;
    let request = RetrainRequest::new(&world.model, Trigger::Manual, &classes);
    let error = world.retraining().run(&request, &()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let expected = "the reference has labels of 0 or 1, the champion's were a finite number";
    assert!(error.to_string().contains(expected), "{error}");
    world.check("mixed").await;
}

#[tokio::test]
async fn one_row_judges_nothing() {
    let world = world_of_numbers();
    world.retrain_line(world.lines()).await.unwrap();
    world.serve_numbers(Era::Two, 2).await;
    let settings = by_time(0.5).cooldown(Duration::ZERO).min_holdout_rows(1);
    let done = world.retrain_line(world.lines().settings(settings)).await.unwrap();
    let message = "1 labelled rows to judge the models on, 2 are needed";
    assert_eq!(done.run.message.as_deref(), Some(message));
}
