//! No query reads more than it needs: none scans a table that grows, none sorts what is in order.

use super::super::{SqliteStore, counting, jobs, ledger, log};

#[tokio::test]
async fn queries_use_their_index() {
    let store = SqliteStore::open_in_memory().await.unwrap();
    let mut statements = vec![log::SCAN, log::LABELLED];
    statements.extend([counting::CODES, counting::NEXT, counting::SUMMARIES]);
    statements.extend([log::FORGET_SUMMARIES, log::DELETE_FEATURES, log::DELETE_EVENTS]);
    statements.extend([log::DELETE_OUTCOMES, log::FORGET_BATCHES]);
    statements.extend(ledger::lists());
    statements.push(jobs::LIST);
    for statement in statements {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(explain).fetch_all(store.reads()).await.unwrap();
        assert!(!plan.is_empty(), "{statement}");
        for (.., step) in &plan {
            let scans = step.starts_with("SCAN") && !step.starts_with("SCAN (subquery");
            assert!(!scans && !step.contains("TEMP B-TREE"), "{step}\n{statement}\n{plan:#?}");
        }
    }
}
