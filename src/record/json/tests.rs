//! The odd-JSON table of the HTTP contract, row by row, and what a hostile sender thinks of next.

use super::*;

fn schema() -> FeatureSchema {
    FeatureSchema::new([
        Feature::integer("tenure").range(0.0, 100.0),
        Feature::numeric("charges").nullable(),
        Feature::categorical("contract", ["Monthly", "Yearly"]),
    ])
    .unwrap()
}

/// What came of a document: the row, or why not, and all that was said.
struct Outcome {
    row: Result<Row, DecodeError>,
    errors: Vec<String>,
    warnings: Vec<String>,
}

fn decode_by(schema: &FeatureSchema, json: impl AsRef<[u8]>) -> Outcome {
    let mut out = Violations::new();
    let row = decode_row(schema, json.as_ref(), &mut out);
    Outcome {
        row,
        errors: out.errors().map(ToString::to_string).collect(),
        warnings: out.warnings().map(ToString::to_string).collect(),
    }
}

fn decode(json: impl AsRef<[u8]>) -> Outcome {
    decode_by(&schema(), json)
}

/// A document that is good but for one value.
fn with(feature: &str, value: &str) -> Outcome {
    let good = [("tenure", "5"), ("charges", "7.5"), ("contract", r#""Monthly""#)];
    let member = |(name, text): (&str, &str)| {
        format!(r#""{name}":{}"#, if name == feature { value } else { text })
    };
    decode(format!("{{{}}}", good.map(member).join(",")))
}

fn number(outcome: &Outcome, index: usize) -> Option<u64> {
    match outcome.row.as_ref().ok()?.values()[index] {
        Value::Number(number) => Some(number.to_bits()),
        _ => None,
    }
}

#[test]
fn a_good_document_in_any_order_says_nothing() {
    for json in [
        r#"{"tenure":5,"charges":7.5,"contract":"Yearly"}"#,
        " { \"contract\" :\t\"Yearly\" , \"tenure\" : 5 ,\r\n \"charges\": 75e-1 } \n",
        r#"{"\u0074enure":5.0,"charges":7.50,"contract":"\u0059early"}"#,
        "\u{feff}{\"tenure\":5,\"charges\":7.5,\"contract\":\"Yearly\"}",
    ] {
        let outcome = decode(json);
        assert!(outcome.errors.is_empty() && outcome.warnings.is_empty(), "{json}");
        let yearly = LevelId::new(1).unwrap();
        assert_eq!(
            outcome.row.unwrap().values(),
            [Value::Number(5.0), Value::Number(7.5), Value::Level(yearly)],
            "{json}"
        );
    }
}

#[test]
fn other_types_are_not_coerced() {
    for (feature, value, error) in [
        ("tenure", r#""5""#, "Invalid value for tenure: '5'. Must be a number"),
        ("tenure", "true", "Invalid value for tenure: true. Must be a number"),
        ("tenure", "[5]", "Invalid value for tenure: an array. Must be a number"),
        ("tenure", r#"{"a":5}"#, "Invalid value for tenure: an object. Must be a number"),
        ("tenure", r#""\u0035""#, "Invalid value for tenure: '5'. Must be a number"),
        ("contract", "1", "Invalid value for contract: 1. Expected one of: Monthly, Yearly"),
        (
            "contract",
            "-1e400",
            "Invalid value for contract: -1e400. Expected one of: Monthly, Yearly",
        ),
        (
            "contract",
            "false",
            "Invalid value for contract: false. Expected one of: Monthly, Yearly",
        ),
        (
            "contract",
            r#""monthly""#,
            "Invalid value for contract: 'monthly'. Expected one of: Monthly, Yearly",
        ),
        ("contract", r#""""#, "Invalid value for contract: ''. Expected one of: Monthly, Yearly"),
        (
            "contract",
            r#""Monthly ""#,
            "Invalid value for contract: 'Monthly '. Expected one of: Monthly, Yearly",
        ),
    ] {
        assert_eq!(with(feature, value).errors, [error]);
    }
}

#[test]
fn null_is_missing_and_left_to_the_validator() {
    for (index, feature) in ["tenure", "charges", "contract"].into_iter().enumerate() {
        let outcome = with(feature, "null");
        assert!(outcome.errors.is_empty());
        assert_eq!(outcome.row.unwrap().values()[index], Value::Missing);
    }
}

#[test]
fn whole_numbers_are_exact_or_refused() {
    for (text, value) in [
        ("5.0", 5.0),
        ("5", 5.0),
        ("-0", -0.0),
        ("-0.0", -0.0),
        ("5.5", 5.5),
        ("9007199254740992", 9_007_199_254_740_992.0),
        ("9007199254740993.0", 9_007_199_254_740_992.0),
    ] {
        assert_eq!(number(&with("tenure", text), 0), Some(f64::to_bits(value)), "{text}");
    }
    for text in
        ["9007199254740993", "-9007199254740993", "18446744073709551616", "1180591620717411303424"]
    {
        for feature in ["tenure", "charges"] {
            let outcome = with(feature, text);
            assert_eq!(outcome.errors.len(), 1, "{text}");
            assert!(
                outcome.errors[0]
                    .starts_with(&format!("Invalid value for {feature}: {text}. Must be"))
            );
        }
    }
}

#[test]
fn extreme_floats_are_read_or_named() {
    for (text, value) in [
        ("1e-400", 0.0),
        ("-1e-400", -0.0),
        ("5e-324", f64::from_bits(1)),
        ("1.7976931348623157e308", f64::MAX),
        ("1e21", 1e21),
        ("1180591620717411303424.0", 2_f64.powi(70)),
        ("0.1", 0.1),
    ] {
        assert_eq!(number(&with("charges", text), 1), Some(f64::to_bits(value)), "{text}");
    }
    let digits = "1".repeat(400);
    for text in ["1e400", "-1e400", "1e99999999999999999999", &digits] {
        let outcome = with("charges", text);
        assert_eq!(outcome.row.unwrap().values()[1], Value::Invalid);
        assert!(outcome.errors[0].starts_with("Invalid value for charges: "), "{text}");
        assert!(outcome.errors[0].len() < 200);
    }
}

#[test]
fn what_json_does_not_know_names_the_field() {
    for text in
        ["NaN", "Infinity", "-Infinity", "nan", "01", "+1", ".5", "5.", "0x10", "'5'", "", "tru"]
    {
        for feature in ["tenure", "contract"] {
            let error = with(feature, text).row.unwrap_err();
            let named = error.feature();
            // A value that begins well ends before the rest: the rest is nobody's.
            if !matches!(text, "0x10") {
                assert_eq!(named, Some(feature), "{text}");
                assert!(error.to_string().starts_with(&format!("Invalid value for {feature}: ")));
            }
        }
    }
}

#[test]
fn texts_that_are_no_text_are_refused_by_name() {
    for text in [r#""\ud800""#, r#""\udc00\ud800""#, r#""a\ud800\u0041""#] {
        for feature in ["tenure", "contract"] {
            let outcome = with(feature, text);
            assert_eq!(outcome.errors.len(), 1, "{text}");
            assert!(outcome.errors[0].starts_with(&format!("Invalid value for {feature}: ")));
        }
        let unknown = decode(format!(r#"{{"color":{text}}}"#)).row.unwrap_err();
        assert_eq!(unknown.feature(), Some("color"));
    }
    let other = Feature::categorical("contract", ["Monthly"]).unlisted(Unlisted::Other);
    let schema = FeatureSchema::new([other]).unwrap();
    assert_eq!(decode_by(&schema, r#"{"contract":"\ud800"}"#).errors.len(), 1);

    for bytes in [&b"\xff"[..], b"\xc3", b"\xed\xa0\x80", b"\xc0\x80"] {
        for feature in ["tenure", "contract", "color"] {
            let json = [br#"{""#, feature.as_bytes(), br#"":""#, bytes, br#""}"#].concat();
            let error = decode(json).row.unwrap_err();
            assert_eq!(error.feature(), Some(feature));
        }
        assert!(decode([br#"{"a"#, bytes, br#"":1}"#].concat()).row.is_err());
    }
    for control in ["\"a\u{0}b\"", "\"a\nb\"", "\"\u{1b}[31m\""] {
        assert_eq!(with("contract", control).row.unwrap_err().feature(), Some("contract"));
    }
}

#[test]
fn an_escaped_nul_is_an_unknown_category_and_shown_escaped() {
    assert_eq!(
        with("contract", r#""\u0000\u001b[31m\u202e""#).errors,
        [
            r"Invalid value for contract: '\u{0}\u{1b}[31m\u{202e}'. Expected one of: Monthly, Yearly"
        ]
    );
    let unknown = decode(r#"{"\u0000\r\n": 1}"#);
    assert_eq!(unknown.warnings, [r"Unknown feature: \u{0}\r\n"]);
}

#[test]
fn duplicates_are_errors_known_or_not() {
    let outcome = decode(
        r#"{"tenure":1,"charges":1,"contract":"Yearly","color":1,"tenure":1,"color":2,"t\u0065nure":3}"#,
    );
    assert_eq!(
        outcome.errors,
        ["Duplicate feature: tenure", "Duplicate feature: tenure", "Duplicate feature: color"]
    );
    assert_eq!(outcome.warnings, ["Unknown feature: color"]);
    assert_eq!(outcome.row.unwrap().values()[0], Value::Invalid);
}

#[test]
fn long_unknown_names_with_a_common_beginning_are_no_duplicates() {
    let long = "x".repeat(200);
    let outcome = decode(format!(r#"{{"{long}1":1,"{long}2":2}}"#));
    assert_eq!(outcome.warnings.len(), 2);
    assert!(outcome.errors.iter().all(|error| error.starts_with("Missing")));
}

#[test]
fn a_duplicate_is_found_after_any_number_of_names() {
    let names: String = (0..5_000).map(|n| format!(r#""n{n}":0,"#)).collect();
    let outcome = decode(format!(r#"{{{names}"n4999":0}}"#));
    assert!(outcome.errors.contains(&"Duplicate feature: n4999".to_owned()));
}

#[test]
fn deep_nesting_is_refused_on_a_bounded_stack() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let objects = r#"{"a":"#.repeat(100_000) + "1" + &"}".repeat(100_000);
    let read = move || {
        for nested in [deep.as_str(), objects.as_str(), &deep[..100_000]] {
            for feature in ["tenure", "contract", "color"] {
                let outcome = decode(format!(r#"{{"{feature}":{nested}}}"#));
                match &outcome.row {
                    Ok(_) => {
                        let named = |error: &String| error.contains(&format!("{feature}: an "));
                        assert!(outcome.errors.iter().any(named));
                    }
                    Err(error) => assert_eq!(error.feature(), Some(feature)),
                }
            }
            assert!(decode(nested).row.is_err());
        }
    };
    let thread = std::thread::Builder::new().stack_size(512 * 1024).spawn(read).unwrap();
    thread.join().unwrap();
}

#[test]
fn only_an_object_is_a_row() {
    for json in ["[]", "[1]", "1", "null", "\"a\"", "true", "", " ", "{", "}", "{1:2}"] {
        let error = decode(json).row.unwrap_err();
        assert!(error.to_string().starts_with("Invalid JSON: "), "{json}: {error}");
        assert_eq!(error.feature(), None);
    }
    let whole = r#"{"tenure":5,"charges":7.5,"contract":"Yearly"}"#;
    assert!(decode(format!("{whole}x")).row.is_err());
    assert!(decode(format!("{whole}{whole}")).row.is_err());
    assert_eq!(
        decode("[]").row.unwrap_err().to_string(),
        "Invalid JSON: invalid type: sequence, expected an object of features at line 1 column 0"
    );
}

#[test]
fn an_empty_object_lacks_everything_in_schema_order() {
    assert_eq!(
        decode("{}").errors,
        [
            "Missing required feature: tenure",
            "Missing required feature: charges",
            "Missing required feature: contract",
        ]
    );
}

#[test]
fn size_is_bounded_in_what_is_kept() {
    let keys: String = (0..100_000).map(|n| format!(r#""k{n}":{n},"#)).collect();
    let mut out = Violations::new();
    let json = format!(r#"{{{keys}"tenure":1,"charges":2,"contract":"Monthly"}}"#);
    decode_row(&schema(), json.as_bytes(), &mut out).unwrap();
    assert_eq!((out.warning_count(), out.warnings().len()), (100_000, Violations::DEFAULT_LIMIT));
    assert!(out.is_valid());

    let long = "é".repeat(500_000);
    for feature in ["tenure", "contract"] {
        let outcome = with(feature, &format!("\"{long}\""));
        assert!(outcome.errors[0].len() < 300);
    }
    assert!(decode(format!(r#"{{"{long}":1}}"#)).warnings[0].len() < 300);
    let outcome = decode(format!(r#"{{"{long}":NaN}}"#));
    assert!(outcome.row.unwrap_err().to_string().len() < 300);
}

#[test]
fn a_row_of_another_schema_is_replaced() {
    let one = FeatureSchema::new([Feature::numeric("x")]).unwrap();
    let (mut row, mut out) = (Row::missing(&one), Violations::new());
    let schema = schema();
    let mut decoder = Decoder::new(&schema, &mut row, &mut out);
    let json = r#"{"tenure":5,"charges":7.5,"contract":"Yearly"}"#;
    decoder.seed().deserialize(&mut serde_json::Deserializer::from_str(json)).unwrap();
    assert_eq!(row.values().len(), 3);
}

#[test]
fn features_inside_a_document_are_read_in_place() {
    struct Envelope<'d, 'a>(&'d mut Decoder<'a>);
    impl<'de> Visitor<'de> for Envelope<'_, '_> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an envelope")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            while map.next_key::<String>()?.is_some() {
                map.next_value_seed(self.0.seed())?;
            }
            Ok(())
        }
    }
    let schema = schema();
    let read = |json: &str| {
        let (mut row, mut out) = (Row::missing(&schema), Violations::new());
        let mut decoder = Decoder::new(&schema, &mut row, &mut out);
        let mut source = serde_json::Deserializer::from_str(json);
        let read = source.deserialize_map(Envelope(&mut decoder));
        read.map_err(|error| decoder.explain(&error).feature().map(str::to_owned))?;
        Ok(row)
    };
    let row = read(r#"{"features":{"tenure":5,"charges":7.5,"contract":"Yearly"}}"#).unwrap();
    assert_eq!(row.values()[0], Value::Number(5.0));
    assert_eq!(read(r#"{"features":{"tenure":NaN}}"#), Err(Some("tenure".to_owned())));
    assert_eq!(read(r#"{"features":{"tenure":1},}"#), Err(None));
    assert_eq!(read(r#"{"features":[]}"#), Err(None));
}
