//! What does it cost to count a day of a million rows: from roll-ups, from codes, and as one would
//! without them?

use std::time::{Duration, Instant};

use pmmds::log::InferenceLog;
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
    runtime.block_on(store.close());
    runtime.block_on(database.remove());
}
