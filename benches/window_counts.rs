//! What does it cost to count a day of a million rows: from roll-ups, from codes, and as one would
//! without them? And a table that is not ours, by grouping sets and by an unpivot?

use std::time::{Duration, Instant};

use pmmds::drift::{Binning, Profile};
use pmmds::log::InferenceLog;
use pmmds::postgres::{OwnColumn, OwnTable, PostgresStore};
use pmmds::registry::VersionId;
use pmmds::{Timestamp, Window};
use sqlx::AssertSqlSafe;
use support::traffic::Traffic;
use support::{Limit, figure, measured, medians, postgres, ratio};

mod support;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let Some(database) = runtime.block_on(postgres::Database::make("window_counts")) else {
        return;
    };
    let rows: u32 =
        std::env::var("PMMDS_BENCH_ROWS").map_or(1_000_000, |n| n.parse().expect("rows"));
    let rows = if measured() { rows } else { 3_000 };
    let store = runtime.block_on(database.store(2));
    let mut traffic = Traffic::new();
    // A day that has been over for a while, beginning at midnight.
    let day = Duration::from_secs(86_400);
    let now = runtime.block_on(store.now()).expect("the time").as_micros();
    let midnight = now - now.rem_euclid(86_400_000_000) - 86_400_000_000;
    traffic.start = midnight;
    traffic.step = 86_400_000_000 / i64::from(rows + 1);
    for _ in 0..rows / 1_000 {
        runtime.block_on(store.append(&traffic.batch(1_000))).expect("append");
    }
    let start = Timestamp::from_micros(midnight).expect("a time");
    let window = Window::new(start, start.saturating_add(day)).expect("a day");
    let count = || {
        let found = store.counts(&traffic.model, VersionId::FIRST, window, &traffic.profile);
        let found = runtime.block_on(found).expect("counts").counts;
        assert_eq!(found.rows(), u64::from(rows));
        found
    };
    runtime.block_on(database.run("VACUUM ANALYZE"));

    let mut expected = None;
    let [batches] = medians(7, [&mut || expected = Some(count())]);
    let expected = expected.expect("counts");
    let start = Instant::now();
    let done = runtime.block_on(store.maintain()).expect("maintain");
    let added = start.elapsed().as_secs_f64();
    let mut same = true;
    let [rolled_up] = medians(7, [&mut || same &= count().flat_slots().eq(expected.flat_slots())]);
    // Roll-ups are not believed any more: every row is counted.
    runtime.block_on(database.run("UPDATE pmmds_store.settings SET counted_from = 'infinity'"));
    let [codes] = medians(5, [&mut || same &= count().flat_slots().eq(expected.flat_slots())]);
    assert!(same, "the same counts, bit for bit");

    let columns = traffic.profile.columns().count();
    let group_by = format!(
        "SELECT count(*) FROM (SELECT k, get_byte(codes, k), count(*)
            FROM pmmds_store.prediction_logs, generate_series(0, {}) AS k GROUP BY 1, 2) g",
        columns - 1
    );
    let mut connection = runtime.block_on(database.connect());
    let [in_sql] = medians(
        1,
        [&mut || {
            let query = sqlx::query_scalar::<_, i64>(AssertSqlSafe(group_by.clone()));
            let found = runtime.block_on(query.fetch_one(&mut connection)).expect("groups");
            assert!(found > 0);
        }],
    );
    let [every_row] = medians(
        1,
        [&mut || {
            let (mut after, mut found) = (None, 0);
            loop {
                let page = store.scan(&traffic.model, window, after, 10_000);
                let page = runtime.block_on(page).expect("scan");
                found += page.items.len();
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found, rows as usize);
        }],
    );
    println!("{rows} rows, {columns} columns, {} buckets", done.buckets);
    figure("batch rows", batches, "s", Limit::None);
    figure("adding up, once", added, "s", Limit::None);
    figure("roll-ups", rolled_up, "s", Limit::AtMost(0.05));
    figure("codes", codes, "s", Limit::AtMost(1.5));
    figure("GROUP BY in SQL", in_sql, "s", Limit::None);
    figure("every row in pages of 10,000", every_row, "s", Limit::None);
    ratio("GROUP BY in SQL", "codes", in_sql, codes, Limit::None);
    ratio("codes", "roll-ups", codes, rolled_up, Limit::None);
    own_table(&runtime, &database, &store, &traffic.profile, rows);
    runtime.block_on(store.close());
    runtime.block_on(database.remove());
}

/// A typed table of the same features, counted as `count_own_table` does and by an unpivot: a row
/// per value, grouped by column and slot.
fn own_table(
    runtime: &tokio::runtime::Runtime,
    database: &postgres::Database,
    store: &PostgresStore,
    profile: &Profile,
    rows: u32,
) {
    let (mut types, mut values, mut slots) = (String::new(), String::new(), Vec::new());
    for (number, column) in profile.columns().enumerate() {
        let (kind, value, slot) = match column.binning() {
            Binning::Levels(levels) => {
                let levels = format!("'{{{}}}'::text[]", levels.join(","));
                let missing = column.binning().slots() - 1;
                let slot = format!(
                    "CASE WHEN c{number} IS NULL THEN {missing} ELSE
                        coalesce(array_position({levels}, c{number}) - 1, {}) END",
                    missing - 1
                );
                ("text", "(ARRAY['a', 'b', 'b', 'c'])[1 + floor(random() * 4)]", slot)
            }
            Binning::Numeric(bins) => {
                // The edges that are at least the value, counted from the other end.
                assert_eq!(bins.bin(bins.edges()[0]), Some(0), "closed on the right");
                let edges: Vec<String> =
                    bins.edges().iter().rev().map(|e| (-e).to_string()).collect();
                let slot = format!(
                    "CASE WHEN c{number} IS NULL OR c{number} = 'NaN' THEN {} ELSE
                        {} - width_bucket(-c{number}, '{{{}}}'::float8[]) END",
                    column.binning().slots() - 1,
                    edges.len(),
                    edges.join(",")
                );
                ("float8", "random() * 540", slot)
            }
            other => panic!("{other:?}"),
        };
        types += &format!(", c{number} {kind}");
        values += &format!(", {value}");
        slots.push(format!("({number}, {slot})"));
    }
    runtime.block_on(database.run(&format!(
        "CREATE TABLE public.requests (asked_at timestamptz{types});
        INSERT INTO public.requests SELECT '2001-01-01'{values} FROM generate_series(1, {rows})"
    )));
    runtime.block_on(database.run("VACUUM ANALYZE public.requests"));
    let typed = |number: usize| OwnColumn::Typed(format!("c{number}"));
    let mut table = OwnTable::new("public", "requests", "asked_at");
    for (number, feature) in profile.features().iter().enumerate() {
        table = table.column(feature.name(), typed(number));
    }
    table = table.score(typed(profile.features().len()));
    let start: Timestamp = "2001-01-01T00:00:00Z".parse().expect("a time");
    let day = Window::new(start, start.saturating_add(Duration::from_secs(1))).expect("a window");
    let unpivot = format!(
        "SELECT v.k, v.c, count(*) FROM public.requests
        CROSS JOIN LATERAL (VALUES {}) AS v (k, c)
        WHERE asked_at >= '2001-01-01' AND asked_at < '2001-01-02' GROUP BY 1, 2",
        slots.join(", ")
    );
    let mut connection = runtime.block_on(database.connect());
    // The sets are counted by one process of the server; it has more of them for an unpivot.
    let mut alone = runtime.block_on(database.connect());
    let one = "SET max_parallel_workers_per_gather = 0";
    runtime.block_on(sqlx::query(one).execute(&mut alone)).expect("a setting");
    let (mut counts, mut groups) = (None, Vec::new());
    let [sets, unpivoted, by_one] = medians(
        3,
        [
            &mut || {
                let found = store.count_own_table(&table, day, profile);
                counts = Some(runtime.block_on(found).expect("counts"));
            },
            &mut || {
                let query = sqlx::query_as(AssertSqlSafe(unpivot.clone()));
                groups = runtime.block_on(query.fetch_all(&mut connection)).expect("groups");
            },
            &mut || {
                let query = sqlx::query(AssertSqlSafe(unpivot.clone()));
                let found = runtime.block_on(query.fetch_all(&mut alone)).expect("groups");
                assert!(!found.is_empty());
            },
        ],
    );
    let counts = counts.expect("counts");
    assert_eq!(counts.rows(), u64::from(rows));
    for (column, slot, count) in groups as Vec<(i32, i32, i64)> {
        let index = |n: i32| usize::try_from(n).expect("not negative");
        assert_eq!(counts.slots(index(column))[index(slot)], count.unsigned_abs(), "{column}");
    }
    figure("a table of somebody else, grouping sets", sets, "s", Limit::None);
    figure("a table of somebody else, unpivot", unpivoted, "s", Limit::None);
    figure("a table of somebody else, unpivot by one process", by_one, "s", Limit::None);
    ratio("unpivot", "grouping sets", unpivoted, sets, Limit::None);
    ratio("unpivot by one process", "grouping sets", by_one, sets, Limit::None);
}
