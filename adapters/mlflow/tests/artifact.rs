//! The files of a model version, small but complete.

use std::sync::Arc;

use crate::artifact::{ModelArtifact, TrainingRecord};
use crate::drift::Profile;
use crate::model::{Model, ModelFormat, Task, TrainedModel};
use crate::record::{Columns, Row, Table};
use crate::registry::ArtifactFiles;
use crate::schema::{Feature, FeatureSchema, Fingerprint};
use crate::{Error, ErrorKind};

/// A model that says the same to everybody.
#[derive(Debug)]
struct Constant(Arc<FeatureSchema>, f64, Task);

impl Model for Constant {
    fn schema(&self) -> &Arc<FeatureSchema> {
        &self.0
    }

    fn task(&self) -> Task {
        self.2
    }

    fn score(&self, _: &Row) -> f64 {
        self.1
    }
}

/// Its format.
#[derive(Debug)]
pub(super) struct ConstantFormat;

impl ModelFormat for ConstantFormat {
    fn name(&self) -> &'static str {
        "constant.v1"
    }

    fn load(&self, document: &[u8], schema: &Arc<FeatureSchema>) -> Result<Arc<dyn Model>, Error> {
        let rate = std::str::from_utf8(document).ok().and_then(|text| text.parse().ok());
        let rate = rate.ok_or_else(|| Error::new(ErrorKind::Corrupt, "constant", "no number"))?;
        Ok(Arc::new(Constant(Arc::clone(schema), rate, Task::binary())))
    }
}

/// A version whose model answers `rate`, with everything that MLflow shows.
pub(super) fn files(rate: f64, task: Task) -> ArtifactFiles {
    let schema = FeatureSchema::new([
        Feature::categorical("contract", ["monthly", "\"yearly\", é"]),
        Feature::integer("tenure").range(0.0, 100.0),
        Feature::integer("children").nullable(),
        Feature::numeric("charges").nullable(),
    ]);
    let schema = Arc::new(schema.unwrap());
    let rows = [["monthly", "1", "2", "3.5"], ["\"yearly\", é", "70", "", ""]];
    let table = Table::from_rows(["contract", "tenure", "children", "charges"], rows).unwrap();
    let columns = Columns::read(&schema, &table).unwrap();
    let sample = columns.batch();
    let model = Arc::new(Constant(Arc::clone(&schema), rate, task));
    let trained = TrainedModel::new(model, "constant.v1", rate.to_string().into_bytes());
    let odd = ("why: \"odd\" name?".to_owned(), "é".repeat(400));
    let training = TrainingRecord {
        trainer: "constant".to_owned(),
        params: [("rate".to_owned(), rate.to_string()), odd].into(),
        data: Some(Fingerprint::of_bytes(b"rows")),
        rows: 2,
        holdout: "none".to_owned(),
        metrics: [("roc_auc".to_owned(), 0.5), ("log_loss".to_owned(), f64::from(2_u8).ln())]
            .into(),
        ..TrainingRecord::default()
    };
    let packed = ModelArtifact::pack(&trained, Profile::fit(&sample).unwrap(), &sample).unwrap();
    packed.with_training(training).to_files().unwrap()
}
