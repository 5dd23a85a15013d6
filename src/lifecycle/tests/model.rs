//! The smallest honest model: a logistic of one feature, fitted in closed form.

use std::sync::Arc;

use crate::model::{Model, ModelFormat, Progress, Task, TrainedModel, Trainer};
use crate::record::{Column, Dataset, Row, Value};
use crate::schema::FeatureSchema;
use crate::{Error, ErrorKind};

const COMPONENT: &str = "logistic";

#[derive(Debug)]
pub(crate) struct LogisticModel {
    pub(crate) schema: Arc<FeatureSchema>,
    pub(crate) weight: f64,
    pub(crate) bias: f64,
}

impl Model for LogisticModel {
    fn schema(&self) -> &Arc<FeatureSchema> {
        &self.schema
    }

    fn task(&self) -> Task {
        Task::binary()
    }

    fn score(&self, row: &Row) -> f64 {
        match row.values()[0] {
            Value::Number(x) => 1.0 / (1.0 + (-(self.weight * x + self.bias)).exp()),
            _ => 0.5,
        }
    }
}

/// Two normal distributions of one variance: their log odds are linear in the feature.
#[derive(Debug)]
pub(crate) struct Logistic;

impl Trainer for Logistic {
    fn name(&self) -> &str {
        "logistic"
    }

    fn fit(&self, data: &Dataset, _: &dyn Progress) -> Result<TrainedModel, Error> {
        let batch = data.columns().batch();
        let Column::Numbers(x) = &batch.columns()[0] else {
            panic!("the first feature is numeric")
        };
        let of = |class: f64| -> Vec<f64> {
            let rows = x.iter().zip(data.labels());
            rows.filter(|(_, label)| (**label > 0.5) == (class > 0.5)).map(|(x, _)| *x).collect()
        };
        let (stay, leave) = (of(0.0), of(1.0));
        if stay.is_empty() || leave.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                COMPONENT,
                "all rows are of one class",
            ));
        }
        let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
        let (m0, m1) = (mean(&stay), mean(&leave));
        let squares = |x: &[f64], m: f64| x.iter().map(|x| (x - m) * (x - m)).sum::<f64>();
        let variance = (squares(&stay, m0) + squares(&leave, m1)) / x.len() as f64;
        let weight = (m1 - m0) / variance.max(1e-9);
        let odds = leave.len() as f64 / stay.len() as f64;
        let bias = odds.ln() - weight * (m0 + m1) / 2.0;
        Ok(trained(LogisticModel { schema: Arc::clone(data.schema()), weight, bias }))
    }
}

/// `model` with its document.
pub(crate) fn trained(model: LogisticModel) -> TrainedModel {
    let document = serde_json::to_vec(&[model.weight, model.bias]).unwrap();
    TrainedModel::new(Arc::new(model), "logistic.v1", document).param("classes", 2)
}

#[derive(Debug)]
pub(crate) struct LogisticFormat;

impl ModelFormat for LogisticFormat {
    fn name(&self) -> &str {
        "logistic.v1"
    }

    fn load(&self, document: &[u8], schema: &Arc<FeatureSchema>) -> Result<Arc<dyn Model>, Error> {
        let [weight, bias] = serde_json::from_slice(document).map_err(|e| {
            Error::new(ErrorKind::Corrupt, COMPONENT, "two numbers are expected").with_source(e)
        })?;
        Ok(Arc::new(LogisticModel { schema: Arc::clone(schema), weight, bias }))
    }
}

/// A number that is linear in the first feature.
#[derive(Debug)]
pub(crate) struct LineModel {
    pub(crate) schema: Arc<FeatureSchema>,
    pub(crate) slope: f64,
    pub(crate) offset: f64,
}

impl Model for LineModel {
    fn schema(&self) -> &Arc<FeatureSchema> {
        &self.schema
    }

    fn task(&self) -> Task {
        Task::Regression
    }

    fn score(&self, row: &Row) -> f64 {
        match row.values()[0] {
            Value::Number(x) => self.slope.mul_add(x, self.offset),
            _ => self.offset,
        }
    }
}

/// Least squares.
#[derive(Debug)]
pub(crate) struct Line;

impl Trainer for Line {
    fn name(&self) -> &str {
        "line"
    }

    fn fit(&self, data: &Dataset, _: &dyn Progress) -> Result<TrainedModel, Error> {
        let batch = data.columns().batch();
        let Column::Numbers(x) = &batch.columns()[0] else {
            panic!("the first feature is numeric")
        };
        let rows = x.len() as f64;
        let (mean_x, mean_y) =
            (x.iter().sum::<f64>() / rows, data.labels().iter().sum::<f64>() / rows);
        let pairs = || x.iter().zip(data.labels());
        let together: f64 = pairs().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
        let spread: f64 = x.iter().map(|x| (x - mean_x) * (x - mean_x)).sum();
        let slope = together / spread.max(1e-9);
        let offset = slope.mul_add(-mean_x, mean_y);
        let document = serde_json::to_vec(&[slope, offset]).unwrap();
        let model = LineModel { schema: Arc::clone(data.schema()), slope, offset };
        Ok(TrainedModel::new(Arc::new(model), "line.v1", document))
    }
}

#[derive(Debug)]
pub(crate) struct LineFormat;

impl ModelFormat for LineFormat {
    fn name(&self) -> &str {
        "line.v1"
    }

    fn load(&self, document: &[u8], schema: &Arc<FeatureSchema>) -> Result<Arc<dyn Model>, Error> {
        let [slope, offset] = serde_json::from_slice(document).map_err(|e| {
            Error::new(ErrorKind::Corrupt, "line", "two numbers are expected").with_source(e)
        })?;
        Ok(Arc::new(LineModel { schema: Arc::clone(schema), slope, offset }))
    }
}
