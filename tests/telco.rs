//! The real Telco file, end to end: file, table, schema, columns, validation.

mod telco_file;

use std::sync::Arc;

use pmmds::record::{Columns, Dataset, Table, Value, decode_row};
use pmmds::schema::{FeatureKind, FeatureSchema, Unlisted};
use pmmds::validate::{FeatureValidator, Rule, SchemaValidator, ValidationReport, Violations};
use telco_file::telco;

const ROWS: usize = 7_043;

fn schema() -> Arc<FeatureSchema> {
    Arc::new(FeatureSchema::from_toml(include_str!("../examples/telco_schema.toml")).unwrap())
}

#[test]
fn the_schema_is_the_documented_one() {
    let schema = schema();
    let names: Vec<&str> = schema.features().iter().map(|feature| feature.name()).collect();
    let expected = "gender senior_citizen partner dependents tenure contract paperless_billing \
                    payment_method monthly_charges total_charges phone_service multiple_lines \
                    internet_service online_security online_backup device_protection tech_support \
                    streaming_tv streaming_movies";
    assert_eq!(names, expected.split_whitespace().collect::<Vec<_>>());
}

#[test]
fn the_documented_request_is_clean_and_the_documented_mistakes_are_told() {
    let validator = SchemaValidator::new(schema());
    let good = r#"{
      "gender": "Male", "senior_citizen": 0, "partner": "Yes", "dependents": "No", "tenure": 12,
      "contract": "Month-to-month", "paperless_billing": "Yes",
      "payment_method": "Electronic check", "monthly_charges": 70.35, "total_charges": 840.20,
      "phone_service": "Yes", "multiple_lines": "No", "internet_service": "Fiber optic",
      "online_security": "No", "online_backup": "No", "device_protection": "No",
      "tech_support": "No", "streaming_tv": "No", "streaming_movies": "No"
    }"#;
    let check = |json: &str| {
        let mut out = Violations::new();
        let row = decode_row(validator.schema(), json.as_bytes(), &mut out).unwrap();
        validator.validate(&row, &mut out);
        out
    };
    assert!(check(good).is_clean());
    let bad = good.replace(r#""tenure": 12,"#, "").replace("Month-to-month", "Annual");
    let errors: Vec<String> = check(&bad).errors().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "Missing required feature: tenure",
            "Invalid value for contract: 'Annual'. \
             Expected one of: Month-to-month, One year, Two year",
        ]
    );
}

#[test]
fn every_row_passes_the_reviewed_schema() {
    let Some(table) = telco() else { return };
    let schema = schema();
    assert_eq!((table.rows(), table.columns().len()), (ROWS, 21));
    assert_eq!(table.column("total_charges").unwrap().null_count(), 11);
    let outside: Vec<&str> = table.columns_outside(&schema).collect();
    assert_eq!(outside, ["customer_id", "churn"]);

    let mut found = Violations::new();
    let columns = Columns::from_table(&schema, &table, &mut found).unwrap();
    let validator = SchemaValidator::new(Arc::clone(&schema));
    let report = ValidationReport::of(&validator, &columns, found);
    assert_eq!(report.to_string(), "validation passed: 0 errors in 7043 rows\n");
    assert_eq!(columns, Columns::read(&schema, &table).unwrap());

    let total = schema.id("total_charges").unwrap().index();
    let blank = (0..ROWS).filter(|row| columns.row(*row).values()[total] == Value::Missing);
    assert_eq!(blank.count(), 11);

    let mut out = Violations::new();
    let data = Dataset::from_table(&schema, &table, "churn", "Yes", Some("customer_id"), &mut out);
    let data = data.unwrap();
    assert_eq!(data.labels().iter().filter(|label| **label > 0.5).count(), 1_869);
    assert_eq!(data.repeated_entities(), 0);
}

#[test]
fn every_row_survives_json() {
    let Some(table) = telco() else { return };
    let schema = schema();
    let columns = Columns::read(&schema, &table).unwrap();
    let mut out = Violations::new();
    let mut again = Columns::new(Arc::clone(&schema));
    for row in 0..ROWS {
        let row = columns.row(row);
        let decoded = decode_row(&schema, row.to_json(&schema).as_bytes(), &mut out).unwrap();
        assert_eq!(decoded, row);
        again.push(&decoded);
    }
    assert!(out.is_clean());
    assert_eq!(again, columns);
}

#[test]
fn the_proposal_agrees_with_the_review() {
    let Some(table) = telco() else { return };
    let reviewed = schema();
    let infer = FeatureSchema::infer(&table).leave_out(["churn"]).unlisted(Unlisted::Reject);
    let inferred = infer.build().unwrap();
    let left_out: Vec<&str> = inferred.left_out().iter().map(|left| left.column()).collect();
    assert_eq!(left_out, ["customer_id", "churn"]);
    assert_eq!(inferred.schema().len(), reviewed.len());
    for proposed in inferred.schema().features() {
        let name = proposed.name();
        let feature = reviewed.get(reviewed.id(name).unwrap()).unwrap();
        assert_eq!(proposed.is_nullable(), feature.is_nullable(), "{name}");
        match (proposed.kind(), feature.kind()) {
            (
                FeatureKind::Numeric { integer: proposed, .. },
                FeatureKind::Numeric { integer: reviewed, .. },
            ) => assert_eq!(proposed, reviewed, "{name}"),
            (FeatureKind::Categorical { levels, .. }, FeatureKind::Categorical { .. }) => {
                let mut reviewed = feature.levels().to_vec();
                reviewed.sort();
                assert_eq!(*levels, reviewed, "{name}");
            }
            _ => panic!("{name} changed its kind"),
        }
    }
    let text = inferred.to_string();
    for line in [
        "  total_charges      numeric, nullable (11 of 7043 rows are null)\n",
        "  senior_citizen     integer from 0 to 1\n",
        "  customer_id  7043 different values in 7043 rows: an identifier?\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn rows_that_are_wrong_are_found_in_the_file() {
    let Some(table) = telco() else { return };
    let schema = schema();
    let cells: Vec<Vec<&str>> =
        table.columns().iter().map(|column| column.cells().take(100).collect()).collect();
    let names: Vec<&str> = table.columns().iter().map(|column| column.name()).collect();
    let rows = (0..100).map(|row| {
        names.iter().zip(&cells).map(move |(name, cells)| match (*name, row) {
            ("tenure", 7) => "101",
            ("total_charges", 8) => "1,5",
            ("contract", 9) => "Annual",
            ("monthly_charges", 10) => "",
            _ => cells[row],
        })
    });
    let table = Table::from_rows(names.clone(), rows).unwrap();
    let mut found = Violations::new();
    let columns = Columns::from_table(&schema, &table, &mut found).unwrap();
    let validator = SchemaValidator::new(Arc::clone(&schema));
    validator.validate_batch(&columns.batch(), &mut found);
    let errors: Vec<String> = found.errors().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "Row 7: Invalid value for tenure: 101. Must be an integer between 0 and 100",
            "Row 8: Invalid value for total_charges: '1,5'. Must be a number",
            "Row 9: Invalid value for contract: 'Annual'. \
             Expected one of: Month-to-month, One year, Two year",
            "Row 10: Invalid value for monthly_charges: null. Must be a number",
        ]
    );
    assert_eq!(found.count(Rule::OutOfRange), 1);
}
