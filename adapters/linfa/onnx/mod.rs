//! Models as [ONNX](https://onnx.ai) graphs, for whoever scores without this crate.
//!
//! The trainers of [`linfa`](super) put the graph beside the model, as the file [`FILE_NAME`] of its
//! artifact. Nothing here reads it back: what is served is the model itself.
//!
//! # Inputs
//!
//! One per feature of the schema, under its name, with one element per row.
//!
//! | feature | elements | missing |
//! |---|---|---|
//! | numeric | double | NaN |
//! | whole numbers | int64; double if the feature may be missing | NaN |
//! | categorical | string | `None`, `nan` or `<NA>`, which is what Python's null values become; a level of that name goes first |
//!
//! A schema of one feature has an input of rows by one column, since that is how MLflow hands over
//! a frame of one column. Whatever the schema would refuse is scored all the same: a level that it
//! does not list as *other*, a number out of range as it is.
//!
//! # Outputs
//!
//! | task | output | elements |
//! |---|---|---|
//! | classes | `probability` | double, of the positive class |
//! | classes | `prediction` | int64, 1 at or above the threshold |
//! | a number | `prediction` | double |
//!
//! Where a feature has that name, the output's ends in an underscore more.
//!
//! # Precision
//!
//! The graph does what the model does, in double precision and in the same order: a comparison with
//! an edge comes out alike, and scores differ by the rounding of `exp` at most. There is no tree in
//! it, since trees of ONNX compare and add up in single precision. Each step function is written as
//! a comparison with all of its edges: rows times edges in memory, while it is computed.
//!
//! ```
//! use std::sync::Arc;
//! use pmmds::linfa::{StepFormat, onnx};
//! use pmmds::schema::{Feature, FeatureSchema};
//!
//! let schema = Arc::new(FeatureSchema::new([Feature::numeric("x").nullable()])?);
//! let document = br#"{"format":"pmmds.steps.v1","threshold":0.5,"intercept":-1.0,"features":[
//!     {"kind":"numeric","name":"x","edges":[10.0],"weights":[0.5,1.0],"missing":3.0}]}"#;
//! let graph = StepFormat::read(document, &schema)?.to_onnx();
//! assert_eq!(onnx::FILE_NAME, "model.onnx");
//! assert!(graph.windows(11).any(|part| part == b"probability"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod graph;
mod protobuf;

use graph::{Element, Graph, Value};

use super::linear::{LinearModel, Link, Slope};
use super::step::{StepModel, Steps};
use super::sum::{Curve, LARGEST, Sum, Term};
use crate::model::Model as _;
use crate::schema::FeatureSchema;

/// Name of the file in an artifact.
///
/// ```
/// assert_eq!(pmmds::linfa::onnx::FILE_NAME, "model.onnx");
/// ```
pub const FILE_NAME: &str = "model.onnx";

impl LinearModel {
    /// The model as an ONNX graph: see [`onnx`](self).
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use pmmds::linfa::LinearFormat;
    /// # use pmmds::schema::{Feature, FeatureSchema};
    /// let schema = Arc::new(FeatureSchema::new([Feature::numeric("tenure")])?);
    /// let document = br#"{"format":"pmmds.linear.v1","threshold":0.5,"intercept":-2.5,"features":[
    ///     {"kind":"numeric","name":"tenure","mean":0.0,"weight":1.0,"missing":0.5}]}"#;
    /// let graph = LinearFormat::read(document, &schema)?.to_onnx();
    /// assert!(graph.windows(6).any(|part| part == b"tenure"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn to_onnx(&self) -> Vec<u8> {
        let mut graph = Graph::new(self.schema());
        let sum = add_up(&mut graph, self.schema(), self.parts());
        match self.link() {
            Link::Logistic { threshold } => classify(&mut graph, &sum, threshold),
            Link::Identity => graph.output("prediction", &sum, Element::Double),
        }
        graph.finish()
    }
}

impl StepModel {
    /// The model as an ONNX graph: see [`onnx`](self).
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use pmmds::linfa::StepFormat;
    /// # use pmmds::schema::{Feature, FeatureSchema};
    /// let schema = Arc::new(FeatureSchema::new([Feature::numeric("tenure")])?);
    /// let document = br#"{"format":"pmmds.steps.v1","threshold":0.5,"intercept":-2.5,"features":[
    ///     {"kind":"numeric","name":"tenure","edges":[],"weights":[1.0],"missing":0.5}]}"#;
    /// let graph = StepFormat::read(document, &schema)?.to_onnx();
    /// assert!(graph.windows(6).any(|part| part == b"tenure"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn to_onnx(&self) -> Vec<u8> {
        let mut graph = Graph::new(self.schema());
        let log_odds = add_up(&mut graph, self.schema(), self.parts());
        classify(&mut graph, &log_odds, self.threshold());
        graph.finish()
    }
}

/// A curve that can be drawn in a graph.
trait Drawn: Curve {
    /// The term of `x`, whatever it is where `x` is NaN.
    fn draw(&self, graph: &mut Graph<'_>, x: &Value) -> Value;
}

impl Drawn for Slope {
    fn draw(&self, graph: &mut Graph<'_>, x: &Value) -> Value {
        let [mean, weight, least, most] =
            [self.mean, self.weight, -LARGEST, LARGEST].map(|number| graph.number(number));
        let distance = graph.apply("Sub", &[x, &mean]);
        let distance = graph.apply("Clip", &[&distance, &least, &most]);
        graph.apply("Mul", &[&distance, &weight])
    }
}

impl Drawn for Steps {
    fn draw(&self, graph: &mut Graph<'_>, x: &Value) -> Value {
        let second_axis = graph.integers(&[1], &[1]);
        let edges = graph.numbers(&[1, self.edges.len()], &self.edges);
        let column = graph.apply("Unsqueeze", &[x, &second_axis]);
        let reached = graph.apply("GreaterOrEqual", &[&column, &edges]);
        let reached = graph.cast(&reached, Element::Int32);
        let bin = graph.add_up(&reached, &second_axis);
        look_up(graph, &self.weights, &bin)
    }
}

/// The sum over the features of `schema`, its terms added in their order.
fn add_up<C: Drawn>(graph: &mut Graph<'_>, schema: &FeatureSchema, sum: &Sum<C>) -> Value {
    let mut terms = vec![graph.number(sum.intercept())];
    for (feature, term) in schema.features().iter().zip(sum.terms()) {
        terms.push(match term {
            Term::Number(curve) => {
                let x = graph.feature_number(feature);
                let term = curve.draw(graph, &x);
                let is_missing = graph.apply("IsNaN", &[&x]);
                let missing = graph.number(curve.at(f64::NAN));
                graph.apply("Where", &[&is_missing, &missing, &term])
            }
            Term::Slots(weights) => {
                let slot = graph.feature_slot(feature);
                look_up(graph, weights, &slot)
            }
        });
    }
    graph.apply("Sum", &terms.iter().collect::<Vec<_>>())
}

/// One of `weights` per row, by its index.
fn look_up(graph: &mut Graph<'_>, weights: &[f64], index: &Value) -> Value {
    let weights = graph.numbers(&[weights.len()], weights);
    graph.apply("Gather", &[&weights, index])
}

/// The outputs of a classifier: the logistic function as [`logistic`](super::sum::logistic) has it,
/// and the label.
fn classify(graph: &mut Graph<'_>, log_odds: &Value, threshold: f64) {
    let one = graph.number(1.0);
    let negative = graph.apply("Neg", &[log_odds]);
    let odds_against = graph.apply("Exp", &[&negative]);
    let all = graph.apply("Add", &[&one, &odds_against]);
    let probability = graph.apply("Div", &[&one, &all]);
    let threshold = graph.number(threshold);
    let label = graph.apply("GreaterOrEqual", &[&probability, &threshold]);
    let label = graph.cast(&label, Element::Int64);
    graph.output("probability", &probability, Element::Double);
    graph.output("prediction", &label, Element::Int64);
}
