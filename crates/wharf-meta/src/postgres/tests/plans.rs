//! At a million rows every statement finds what it looks for by an index, whatever values it is given.

use super::{Place, config};
use crate::postgres::connector::Connector;
use crate::postgres::schema;
use crate::postgres::session::{Session, dialect};
use crate::statements::all;

/// A million of what grows most, without the checks of references that would take longest; the shapes are those of a registry with a hundred repositories.
const ROWS: &str = "
    set session_replication_role = replica;
    insert into repositories (name, created_at_us) select 'team/app' || n, 0 from generate_series(1, 100) n;
    insert into blobs (digest, size_bytes, state, created_at_us, verified_at_us, delete_after_us)
        select 'sha256:' || md5(n::text) || md5('b' || n), 1000,
               case when n % 1000 = 0 then 'deleting' when n % 5000 = 1 then 'quarantined' else 'live' end, n, n,
               case when n % 1000 = 0 then n end
          from generate_series(1, 1000000) n;
    insert into repository_blobs (repository_id, blob_id, created_at_us, created_by)
        select n % 100 + 1, n, n, 'alice' from generate_series(1, 1000000) n;
    insert into manifests (repository_id, digest, media_type, subject_digest, pushed_at_us, pushed_by, body)
        select n % 100 + 1, 'sha256:' || md5('m' || n) || md5(n::text), 'application/json',
               case when n % 10 = 0 then 'sha256:' || md5('s' || n / 100) || md5('s' || n) end, n, 'alice', 'x'
          from generate_series(1, 1000000) n;
    insert into manifest_blobs (manifest_id, blob_id, repository_id)
        select n, n, n % 100 + 1 from generate_series(1, 1000000) n;
    insert into manifest_children (manifest_id, child_digest, repository_id)
        select n, 'sha256:' || md5('m' || n + 1) || md5((n + 1)::text), n % 100 + 1 from generate_series(1, 200000) n;
    insert into tags (repository_id, name, manifest_id, version, updated_at_us, updated_by)
        select n % 100 + 1, 'v' || n, n, 1, n, 'alice' from generate_series(1, 1000000) n;
    insert into tag_history (repository_id, name, version, to_digest, changed_at_us, changed_by)
        select n % 100 + 1, 'v' || n, 1, 'sha256:' || n, n, 'alice' from generate_series(1, 1000000) n;
    insert into deleted_manifests (repository_id, digest, media_type, tags, deleted_at_us, deleted_by, restorable_until_us, body)
        select n % 100 + 1, 'sha256:' || md5('d' || n), 'application/json', '[]', n, 'alice', n, 'x'
          from generate_series(1, 200000) n;
    insert into uploads (id, repository, owner, algorithm, state, digest, started_at_us, expires_at_us)
        select 'u' || n, 'team/app' || n % 100, 'alice' || n % 50, 'sha256', case when n % 2 = 0 then 'open' else 'done' end,
               case when n % 2 = 1 then 'sha256:' || n end, n, n
          from generate_series(1, 200000) n;
    insert into gc_reviews (repository_id, kind, digest, due_at_us)
        select n % 100 + 1, case when n % 3 = 0 then 'manifest' else 'blob' end, 'sha256:' || md5(n::text) || md5('b' || n), n
          from generate_series(1, 1000000) n;
    insert into gc_removals (key, digest, reason, due_at_us) select 'k' || n, 'sha256:' || n, 'unreferenced', n
          from generate_series(1, 100000) n;
    insert into gc_log (digest, size_bytes, reason, condemned_at_us, removed_at_us)
        select 'sha256:' || n, 1, 'unreferenced', n, n from generate_series(1, 200000) n;
    insert into accounts (id, name, account_type, created_at_us, created_by, updated_at_us)
        select 'a' || n, 'user' || n, 'human', n, 'root', n from generate_series(1, 20000) n;
    insert into api_tokens (id, account_id, kind, secret_sha256, created_at_us, created_by, expires_at_us)
        select 't' || n, 'a' || n % 20000 + 1, 'api', sha256(n::text::bytea), n, 'root', n from generate_series(1, 200000) n;
    insert into audit_log (sequence, request_id, at_us, principal, account_type, source, action, repository, outcome)
        select n, 'r' || n, n, 'alice' || n % 500, 'human', '', 'blob.push', 'team/app' || n % 100, 'done'
          from generate_series(1, 1000000) n;
    insert into audit_seals (last_sequence, records, sha256, previous_sha256, sealed_at_us)
        select n * 10, 10, sha256('x'), sha256('x'), n from generate_series(1, 100000) n;
    insert into sessions (id_sha256, principal, provider, subject, account_type, roles, source, created_at_us, seen_at_us, ends_at_us)
        select sha256(n::text::bytea), 'alice' || n, 'local', 'alice', 'human', '[]', '', n, n, n
          from generate_series(1, 100000) n;
    insert into sign_ins (id_sha256, provider, redirect_uri, next, created_at_us)
        select sha256(n::text::bytea), 'example', 'https://x/', '/', n from generate_series(1, 100000) n;
    insert into kept_answers (principal, key_sha256, request_sha256, created_at_us)
        select 'alice' || n % 500, sha256(n::text::bytea), sha256('x'), n from generate_series(1, 200000) n;
    analyze";

/// Tables that stay small: a hundred rows are read faster as they lie.
const SMALL: [&str; 12] = [
    "repositories",
    "meta",
    "changes",
    "signing_keys",
    "policy_rules",
    "gc_holds",
    "jobs",
    "leases",
    "migrations",
    "accounts",
    "storage_samples",
    "largest_repositories",
];

/// These empty a snapshot, which is an SQLite database.
const OF_SNAPSHOTS: [&str; 6] = [
    "WITHOUT_LOGINS",
    "WITHOUT_SESSIONS",
    "WITHOUT_SIGN_INS",
    "WITHOUT_ANSWERS",
    "WITHOUT_UPLOADS",
    "WITHOUT_REMOVALS",
];

/// The steps of the plan that serves any values.
fn plan(session: &Session, sql: &str, parameters: usize) -> Vec<String> {
    let values = vec!["null"; parameters].join(", ");
    let values = if parameters == 0 { String::new() } else { format!("({values})") };
    session.batch(&format!("prepare asked as {}", dialect(sql))).unwrap();
    let steps = session.lines(&format!("explain (costs off) execute asked{values}")).unwrap();
    session.batch("deallocate asked").unwrap();
    steps
}

#[test]
#[ignore = "makes ten million rows, which takes minutes"]
fn every_statement_uses_an_index_at_a_million_rows() {
    let place = Place::new();
    let config = config(&place.database);
    let session = Connector::new(&config).unwrap().connect().unwrap();
    schema::migrate(&session, schema::MIGRATIONS).unwrap();
    session.patiently(std::time::Duration::from_secs(1200), || session.batch(ROWS)).unwrap();
    session.batch("set plan_cache_mode = force_generic_plan").unwrap();
    let mut complaints = Vec::new();
    for (file, name, sql) in all().into_iter().filter(|(_, name, _)| !OF_SNAPSHOTS.contains(name)) {
        let parameters = session.statement(sql.postgres).unwrap().params().len();
        let steps = plan(&session, sql.postgres, parameters);
        for step in &steps {
            let scanned = step.split_once("Seq Scan on ").map(|(_, table)| table.split(' ').next().unwrap());
            if scanned.is_some_and(|table| !SMALL.contains(&table)) {
                complaints.push(format!("{file}::{name} reads a whole table\n{}", steps.join("\n")));
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n\n"));
}

/// Two repositories of very different size, in one table.
const TAGS: &str = "
    set session_replication_role = replica;
    insert into repositories (id, name, created_at_us) values (1, 'team/few', 0), (2, 'team/many', 0);
    insert into tags (repository_id, name, manifest_id, version, updated_at_us, updated_by)
        select 1, 'v' || lpad(n::text, 7, '0'), n, 1, n, 'alice' from generate_series(1, 1000) n;
    insert into tags (repository_id, name, manifest_id, version, updated_at_us, updated_by)
        select 2, 'v' || lpad(n::text, 7, '0'), n, 1, n, 'alice' from generate_series(1, 1000000) n";

/// Blocks of 8 KiB that a page of a hundred tags touches.
fn blocks_of_page(session: &Session, repository: &str, after: u32) -> u32 {
    let execute = format!("execute page('v{after:07}', '{repository}', 100)");
    let steps = session.lines(&format!("explain (analyze, buffers, costs off, timing off) {execute}")).unwrap();
    assert!(steps[0].contains("rows=100"), "{steps:?}");
    // Those of the first step are those of all below it.
    let blocks = steps.iter().find_map(|step| step.trim().strip_prefix("Buffers: shared ")).unwrap();
    blocks.split(' ').filter_map(|part| part.split_once('=')).map(|(_, number)| number.parse::<u32>().unwrap()).sum()
}

#[test]
#[ignore = "makes a million tags"]
fn a_page_of_tags_costs_the_same_wherever_it_is() {
    let place = Place::new();
    let config = config(&place.database);
    let session = Connector::new(&config).unwrap().connect().unwrap();
    schema::migrate(&session, schema::MIGRATIONS).unwrap();
    session.patiently(std::time::Duration::from_secs(600), || session.batch(TAGS)).unwrap();
    session.batch("vacuum analyze").unwrap();
    session.batch("set plan_cache_mode = force_generic_plan").unwrap();
    let (.., page) = all().into_iter().find(|(file, name, _)| (*file, *name) == ("tags", "PAGE")).unwrap();
    session.batch(&format!("prepare page as {}", page.postgres)).unwrap();
    let of_few = blocks_of_page(&session, "team/few", 400);
    let of_many = [0, 500_000, 999_900].map(|after| blocks_of_page(&session, "team/many", after));
    println!("blocks: {of_few} of 1,000 tags; {of_many:?} of 1,000,000, first, middle, last page");
    let most = *of_many.iter().max().unwrap();
    assert!(most * 10 <= of_few * 13, "{of_few} of 1,000 tags, {of_many:?} of 1,000,000");
}
