//! Every statement prepares, on PostgreSQL too.

use super::{Place, config};
use crate::postgres::connector::Connector;
use crate::statements::all;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_statement_prepares() {
    let place = Place::new();
    let metadata = place.open().await;
    let config = config(&place.database);
    let complaints = tokio::task::spawn_blocking(move || {
        let session = Connector::new(&config).unwrap().connect().unwrap();
        let mut complaints = Vec::new();
        for (file, name, sql) in all() {
            if let Err(error) = session.statement(sql.postgres) {
                complaints.push(format!("{file}::{name}: {error:?}"));
            }
        }
        complaints
    });
    let complaints = complaints.await.unwrap();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    drop(metadata);
}
