//! A table of somebody else counts like the codes of its rows.

use std::sync::Arc;

use sqlx::{Connection, PgConnection};

use super::super::{OwnColumn, OwnTable};
use super::server::database;
use crate::conformance::traffic::ever;
use crate::drift::{Binning, BinningStrategy, Counts, ProfileOptions};
use crate::record::{Columns, Row, Value};
use crate::schema::{Feature, FeatureSchema, LevelId};
use crate::{ErrorKind, Window};

/// A name that would end the statement if it were put into it.
const ODD: &str = "we\"ird'); DROP TABLE requests; --";

fn numbers() -> Vec<Option<f64>> {
    let mut numbers: Vec<Option<f64>> = (0..60).map(|n| Some(f64::from(n % 17) / 3.0)).collect();
    numbers.extend([None, Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY)]);
    numbers.extend([Some(-0.0), Some(0.0), Some(f64::MAX), Some(5e-324)]);
    numbers
}

#[tokio::test]
async fn it_counts_like_the_codes_of_its_rows() {
    let Some(database) = database().await else { return };
    let store = database.store().await;
    let features = [
        Feature::numeric("x").nullable(),
        Feature::numeric("y").nullable(),
        Feature::categorical(ODD, ["a", "it's $1"]).nullable(),
    ];
    let schema = Arc::new(FeatureSchema::new(features).unwrap());
    let ids: Vec<_> = schema.ids().collect();
    let levels = [Some("a"), Some("it's $1"), Some("neither"), None];
    let mut columns = Columns::new(Arc::clone(&schema));
    let rows: Vec<(Option<f64>, Option<&str>, f64)> = (0_u8..)
        .zip(numbers())
        .map(|(n, x)| (x, levels[usize::from(n % 4)], f64::from(n) / 100.0))
        .collect();
    let row = |(x, level, _): &(Option<f64>, Option<&str>, f64)| {
        let mut row = Row::missing(&schema);
        if let Some(x) = x {
            row.set(ids[0], Value::Number(*x));
            row.set(ids[1], Value::Number(*x));
        }
        if let Some(level) = level {
            let id = schema.features()[2].level(level);
            row.set(ids[2], Value::Level(id));
            assert!(id != LevelId::OTHER || *level == "neither");
        }
        row
    };
    rows.iter().for_each(|values| columns.push(&row(values)));
    let scores: Vec<f64> = rows.iter().map(|(.., score)| *score).collect();
    let edges = BinningStrategy::Edges(vec![-1.0, 0.0, 1.0 / 3.0, 2.0]);
    let profile =
        ProfileOptions::new().strategy(edges).scores(&scores).fit(&columns.batch()).unwrap();
    assert!(matches!(profile.features()[0].binning(), Binning::Numeric(_)));

    let quoted = ODD.replace('"', "\"\"");
    database
        .run(&format!(
            "CREATE SCHEMA \"the team\"; CREATE TABLE \"the team\".requests (
                asked_at timestamptz NOT NULL, x float8, body jsonb, \"{quoted}\" varchar(20),
                probability real)"
        ))
        .await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    for (x, level, score) in &rows {
        // JSON has no NaN and no infinity; as texts they are numbers to PostgreSQL.
        sqlx::query(
            "INSERT INTO \"the team\".requests VALUES ('2001-01-01', $1,
                jsonb_build_object('key $1', $1::float8::text, 'score', $3::float8), $2)",
        )
        .bind(x)
        .bind(level)
        .bind(score)
        .execute(&mut connection)
        .await
        .unwrap();
    }
    let json = |key: &str| OwnColumn::Json { column: "body".to_owned(), key: key.to_owned() };
    let table = OwnTable::new("the team", "requests", "asked_at").column("y", json("key $1"));
    let error = store.count_own_table(&table, ever(), &profile).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    let table = table.score(json("score"));
    let found = store.count_own_table(&table, ever(), &profile).await.unwrap();
    let mut expected = Counts::empty(&profile);
    for values in &rows {
        expected.observe_codes(&profile.encode(&row(values), values.2));
    }
    assert_eq!(found, expected);

    let start = "2001-01-01T00:00:00.000001Z".parse().unwrap();
    let after = Window::new(start, ever().end()).unwrap();
    assert_eq!(store.count_own_table(&table, after, &profile).await.unwrap().rows(), 0);
    let nowhere = OwnTable::new("the team", ODD, "asked_at").score(json("score"));
    let error = store.count_own_table(&nowhere, ever(), &profile).await.unwrap_err();
    assert!(error.chain().contains("does not exist"), "{}", error.chain());
    let rows: i64 = database.value("SELECT count(*) FROM \"the team\".requests").await;
    assert_eq!(rows, 68, "no table was dropped");
}
