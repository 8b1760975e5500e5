//! Does one thing that requests are made of so many times: `kernels NAME TIMES`.
//!
//! For the guard that counts instructions (`tests/it/kernels.rs`): everything that is needed is made first and the thing is done once,
//! whatever TIMES is, so the difference between two runs is what the thing itself costs. The runtime has one thread, because how
//! several share the work is never the same twice. No store is opened: valgrind does not know `openat2`.

use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};
use wharf_base::{Clock, Rng, SeededRng, StoreId, SystemClock};
use wharf_identity::{Configs, Credentials, Identity, Origin, Parts, Place, Remembered};
use wharf_meta::{Condition, ManifestRecord, Metadata, Missing, SqliteConfig, SqliteMetadata};
use wharf_oci::{Algorithm, Digest, Manifest, Reference, RepositoryName, Route};
use wharf_policy::{
    Access, AccountType, Action, Attribution, Principal, Provider, Question, Resource, RuleSet, StoredRule,
};

type Done<T = ()> = Result<T, Box<dyn Error>>;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kernels: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Done {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, times] = &arguments[..] else { return Err("usage: kernels NAME TIMES".into()) };
    let times = times.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match name.as_str() {
        "parse" => parse(times),
        "evaluate with 200 rules" => evaluate(times),
        "token check" => runtime.block_on(check_token(times, false)),
        "token check, known" => runtime.block_on(check_token(times, true)),
        "manifest hit" => runtime.block_on(hit_manifest(times)),
        _ => Err(format!("there is no kernel called {name:?}").into()),
    }
}

/// What is read of the pull of a manifest by digest, and of its push.
fn parse(times: u32) -> Done {
    let body = image_manifest();
    let path = format!("/v2/team-7/app/manifests/{}", Digest::of(Algorithm::Sha256, &body));
    for _ in 0..=times {
        let Route::Manifest { reference, .. } = Route::parse(black_box(&path))? else {
            return Err("this is no path of a manifest".into());
        };
        black_box(reference.parse::<Digest>()?);
        black_box(Manifest::parse(Some(MANIFEST), black_box(&body))?);
    }
    Ok(())
}

/// An image of eight layers.
fn image_manifest() -> Vec<u8> {
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, 0),
        "layers": (1..=8).map(|number| descriptor(LAYER, number)).collect::<Vec<_>>(),
        "annotations": {
            "org.opencontainers.image.created": "2027-01-31T12:00:00Z",
            "org.opencontainers.image.revision": "8b14b9a7f1c2d3e4f5061728394a5b6c7d8e9f00",
            "org.opencontainers.image.source": "https://git.example.org/team-7/app",
        },
    });
    manifest.to_string().into_bytes()
}

fn descriptor(media_type: &str, number: u8) -> Value {
    let size_bytes = 1_000_000 + u32::from(number);
    json!({ "mediaType": media_type, "digest": Digest::of(Algorithm::Sha256, &[number]).to_string(), "size": size_bytes })
}

/// Whether a robot may push to its team's repository, where it has one rule and others have the rest.
fn evaluate(times: u32) -> Done {
    let rules = rules(200);
    let principal = Principal::new(Provider::Local, "ci-199", AccountType::System, Vec::new());
    let repository = "team-199/app".parse()?;
    let question = Question { principal: &principal, action: Action::Push, repository: Some(&repository) };
    for _ in 0..=times {
        if !black_box(wharf_policy::evaluate(black_box(&question), &rules)).allowed {
            return Err("the rules do not allow the push".into());
        }
    }
    Ok(())
}

/// Rules as a registry of many teams has them, like those of `wharf-policy`'s benchmark.
fn rules(count: usize) -> RuleSet {
    let stored = (0..count).map(|number| StoredRule {
        id: format!("r{number}"),
        priority: 100,
        rule_json: if number % 10 == 0 {
            json!({ "effect": "deny", "actions": ["registry:push"], "repositories": [format!("*/frozen-{number}")] })
        } else {
            json!({
                "effect": "allow",
                "subjects": [format!("ci-{number}")],
                "actions": ["registry:pull", "registry:push"],
                "repositories": [format!("team-{number}/**")],
            })
        }
        .to_string(),
        description: String::new(),
    });
    RuleSet::merged(&stored.collect::<Vec<_>>())
}

/// Who asks, by a token of the registry's own that has been seen before: on the same connection, or on others.
async fn check_token(times: u32, is_same_connection: bool) -> Done {
    let directory = tempfile::tempdir()?;
    let meta: Arc<dyn Metadata> = Arc::new(open(directory.path())?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let rng: Arc<dyn Rng> = Arc::new(SeededRng::new(7));
    let password = "kernels-password";
    wharf_identity::ensure_admin(&*meta, Some(password.into()), &*clock, &*rng).await?;
    let parts = Parts {
        store_id: StoreId::generate(&*clock, &*rng),
        default_service: "registry.example.org".to_owned(),
        meta: Arc::clone(&meta),
        clock,
        rng,
    };
    let identity = Identity::start(Configs::default(), parts).await?;
    let origin = Origin { source: Some([192, 0, 2, 200].into()), request_id: "r-1".into() };
    let login = identity.log_in(wharf_identity::FIRST_ACCOUNT, &password.into(), &origin).await?;
    let access =
        Access { resource: Resource::Repository("team-7/app".parse()?), actions: vec![Action::Pull, Action::Push] };
    let token = identity.issue(&login, &[access], &origin)?.token;
    let credentials = Credentials::Bearer(token.expose());
    let mut remembered = Remembered::default();
    for _ in 0..=times {
        if !is_same_connection {
            remembered = Remembered::default();
        }
        black_box(identity.authenticate(black_box(&credentials), &origin, Place::Registry, &remembered).await?);
    }
    meta.close().await?;
    Ok(())
}

/// A manifest by its tag, read before.
async fn hit_manifest(times: u32) -> Done {
    let directory = tempfile::tempdir()?;
    let meta = open(directory.path())?;
    let repository: RepositoryName = "team-7/app".parse()?;
    meta.record_manifest(&record(repository.clone())?).await?;
    let reference: Reference = "v7".parse()?;
    for _ in 0..=times {
        let found = meta.manifest(black_box(&repository), black_box(&reference)).await?;
        black_box(found).ok_or("the manifest is gone")?;
    }
    // In order, because how far the threads are when a process just ends differs from run to run.
    meta.close().await?;
    Ok(())
}

/// A database with as much memory for what was read as a server has.
fn open(directory: &Path) -> Done<SqliteMetadata> {
    Ok(SqliteMetadata::open(&directory.join("wharf.db"), &SqliteConfig::default())?)
}

/// The push of a manifest as `v7`. Its blobs need not be there.
fn record(repository: RepositoryName) -> Done<ManifestRecord> {
    let body = image_manifest();
    let now = SystemClock::new().now();
    Ok(ManifestRecord {
        repository,
        digest: Digest::of(Algorithm::Sha256, &body),
        media_type: MANIFEST.to_owned(),
        artifact_type: None,
        subject: None,
        config: None,
        annotations: BTreeMap::new(),
        body: body.into(),
        blobs: Vec::new(),
        children: Vec::new(),
        missing_blobs: Missing::Allow,
        missing_children: Missing::Allow,
        tags: vec!["v7".parse()?],
        condition: Condition::None,
        by: Attribution {
            principal: Principal::new(Provider::Local, "alice", AccountType::Human, Vec::new()),
            source: None,
            request_id: "r-1".into(),
            action: Action::Push,
            rule: "builtin:human".into(),
        },
        now,
        review_at: now,
    })
}
