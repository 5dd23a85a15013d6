//! A graph of ONNX while it is written: the inputs are the features of a schema.

use super::protobuf::Message;
use crate::schema::{Feature, FeatureKind, FeatureSchema};

/// Version of the file format; opsets beside it: all of them are read by onnxruntime 1.8 and later.
const IR_VERSION: i64 = 7;
const OPSET: i64 = 14;
const ML_OPSET: i64 = 2;

/// The domain of operators on texts.
const ML: &str = "ai.onnx.ml";

/// What a value's elements are: the numbers of `TensorProto.DataType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Int32 = 6,
    Int64 = 7,
    Text = 8,
    Double = 11,
}

/// Name of a value within the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value(String);

/// What pandas and other libraries write for a text that is missing, once it is an input.
const MISSING_TEXTS: [&str; 3] = ["None", "nan", "<NA>"];

/// A graph to which values are added in the order in which they are computed.
#[derive(Debug)]
pub(super) struct Graph<'s> {
    schema: &'s FeatureSchema,
    // fields of a GraphProto
    body: Message,
    // begins every name that is no feature's; no feature's name begins with it
    prefix: String,
    // names that were given out
    values: usize,
    // no one yet where it is None
    column: Option<Value>,
}

impl<'s> Graph<'s> {
    /// A graph with the features of `schema` as inputs.
    pub(super) fn new(schema: &'s FeatureSchema) -> Self {
        let slashes = |feature: &Feature| feature.name().bytes().take_while(|b| *b == b'/').count();
        let longest = schema.features().iter().map(slashes).max().unwrap_or(0);
        let prefix = "/".repeat(longest + 1);
        let mut graph = Self { schema, body: Message::default(), prefix, values: 0, column: None };
        // A frame of one column is handed over as an array of rows by columns, a wider one column
        // by column.
        let lone = schema.len() == 1;
        if lone {
            graph.column = Some(graph.integers(&[1], &[-1]));
        }
        for feature in schema.features() {
            let dimensions: &[Dimension] =
                if lone { &[Dimension::Rows, Dimension::One] } else { &[Dimension::Rows] };
            let input = declared(feature.name(), element(feature), dimensions);
            graph.add(11, &input);
        }
        graph
    }

    fn add(&mut self, field: u32, message: &Message) {
        self.body = std::mem::take(&mut self.body).message(field, message);
    }

    fn name(&mut self) -> Value {
        self.values += 1;
        Value(format!("{}{}", self.prefix, self.values))
    }

    fn constant(&mut self, shape: &[usize], element: Element, data: &[u8]) -> Value {
        let name = self.name();
        let mut tensor = Message::default();
        for size in shape {
            tensor = tensor.int(1, (*size as u64).cast_signed());
        }
        tensor = tensor.int(2, element as i64).text(8, &name.0).bytes(9, data);
        self.add(5, &tensor);
        name
    }

    /// Constant numbers in a `shape`, which is empty for a single one.
    pub(super) fn numbers(&mut self, shape: &[usize], numbers: &[f64]) -> Value {
        let data: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(shape, Element::Double, &data)
    }

    /// A constant number.
    pub(super) fn number(&mut self, number: f64) -> Value {
        self.numbers(&[], &[number])
    }

    /// Constant whole numbers in a `shape`.
    pub(super) fn integers(&mut self, shape: &[usize], integers: &[i64]) -> Value {
        let data: Vec<u8> = integers.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(shape, Element::Int64, &data)
    }

    fn operation(
        &mut self,
        domain: &str,
        kind: &str,
        inputs: &[&str],
        attributes: &[Message],
    ) -> Value {
        let output = self.name();
        self.operation_to(&output, domain, kind, inputs, attributes);
        output
    }

    fn operation_to(
        &mut self,
        output: &Value,
        domain: &str,
        kind: &str,
        inputs: &[&str],
        attributes: &[Message],
    ) {
        let mut node = Message::default();
        for input in inputs {
            node = node.text(1, input);
        }
        node = node.text(2, &output.0).text(3, &output.0).text(4, kind);
        for attribute in attributes {
            node = node.message(5, attribute);
        }
        let node = if domain.is_empty() { node } else { node.text(7, domain) };
        self.add(1, &node);
    }

    /// What the operator `kind` makes of `inputs`.
    pub(super) fn apply(&mut self, kind: &str, inputs: &[&Value]) -> Value {
        self.apply_with(kind, inputs, &[])
    }

    fn apply_with(&mut self, kind: &str, inputs: &[&Value], attributes: &[Message]) -> Value {
        let inputs: Vec<&str> = inputs.iter().map(|value| value.0.as_str()).collect();
        self.operation("", kind, &inputs, attributes)
    }

    /// `value` with other elements.
    pub(super) fn cast(&mut self, value: &Value, to: Element) -> Value {
        self.apply_with("Cast", &[value], &[integer_attribute("to", to as i64)])
    }

    /// `value`, which is whole numbers, added up along the axes of the constant `axes`, which are
    /// gone then.
    pub(super) fn add_up(&mut self, value: &Value, axes: &Value) -> Value {
        self.apply_with("ReduceSum", &[value, axes], &[integer_attribute("keepdims", 0)])
    }

    /// The values of a feature, one per row.
    fn feature(&mut self, feature: &Feature) -> Value {
        let input = Value(feature.name().to_owned());
        match self.column.clone() {
            Some(column) => self.apply("Reshape", &[&input, &column]),
            None => input,
        }
    }

    /// The numbers of a numeric feature, NaN where they are missing.
    pub(super) fn feature_number(&mut self, feature: &Feature) -> Value {
        let input = self.feature(feature);
        match element(feature) {
            Element::Int64 => self.cast(&input, Element::Double),
            _ => input,
        }
    }

    /// The slots of a categorical feature: the levels of the schema, then other, then missing.
    pub(super) fn feature_slot(&mut self, feature: &Feature) -> Value {
        let input = self.feature(feature);
        let levels = feature.levels();
        let missing =
            MISSING_TEXTS.into_iter().filter(|text| levels.iter().all(|level| level != text));
        let keys: Vec<&str> = levels.iter().map(String::as_str).chain(missing).collect();
        let other = (levels.len() as u64).cast_signed();
        let slots: Vec<i64> =
            (0..).zip(&keys).map(|(at, _)| if at < other { at } else { other + 1 }).collect();
        let attributes = [
            keys.iter().fold(attribute("keys_strings", 8), |list, key| list.text(9, key)),
            slots.iter().fold(attribute("values_int64s", 7), |list, slot| list.int(8, *slot)),
            integer_attribute("default_int64", other),
        ];
        self.operation(ML, "LabelEncoder", &[&input.0], &attributes)
    }

    /// Makes `value` an output, one element per row. Its name is `name`, with underscores behind
    /// it where a feature has that name.
    pub(super) fn output(&mut self, name: &str, value: &Value, element: Element) {
        let mut name = name.to_owned();
        while self.schema.features().iter().any(|feature| feature.name() == name) {
            name.push('_');
        }
        self.operation_to(&Value(name.clone()), "", "Identity", &[&value.0], &[]);
        self.add(12, &declared(&name, element, &[Dimension::Rows]));
    }

    /// The file.
    pub(super) fn finish(self) -> Vec<u8> {
        let graph = self.body.text(2, "pmmds");
        let opset = |domain: &str, version| Message::default().text(1, domain).int(2, version);
        Message::default()
            .int(1, IR_VERSION)
            .text(2, "pmmds")
            .message(7, &graph)
            .message(8, &opset("", OPSET))
            .message(8, &opset(ML, ML_OPSET))
            .into_bytes()
    }
}

/// What the input of a feature holds.
fn element(feature: &Feature) -> Element {
    match feature.kind() {
        FeatureKind::Categorical { .. } => Element::Text,
        // A whole number has no NaN.
        FeatureKind::Numeric { integer: true, .. } if !feature.is_nullable() => Element::Int64,
        _ => Element::Double,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dimension {
    Rows,
    One,
}

/// A `ValueInfoProto`.
fn declared(name: &str, element: Element, dimensions: &[Dimension]) -> Message {
    let dimension = |dimension: &Dimension| match dimension {
        Dimension::Rows => Message::default().text(2, "rows"),
        Dimension::One => Message::default().int(1, 1),
    };
    let shape =
        dimensions.iter().fold(Message::default(), |shape, one| shape.message(1, &dimension(one)));
    let tensor = Message::default().int(1, element as i64).message(2, &shape);
    Message::default().text(1, name).message(2, &Message::default().message(1, &tensor))
}

/// An `AttributeProto` without its value.
fn attribute(name: &str, kind: i64) -> Message {
    Message::default().text(1, name).int(20, kind)
}

fn integer_attribute(name: &str, value: i64) -> Message {
    attribute(name, 2).int(3, value)
}
