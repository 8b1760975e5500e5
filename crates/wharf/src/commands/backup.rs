//! `wharf backup`, and `wharf restore --from`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use wharf_base::{Clock, SystemClock, Timestamp};
use wharf_oci::Digest;

use super::remote::{list, print_json, say};
use super::{block_on, print};
use crate::backup::{
    self, Access, Choice, Created, Depth, Generation, Offline, Server, Source, Target, Verified, Wish,
};
use crate::cli::{BackupArgs, BackupCommand, BackupPlaceArgs, CreateBackupArgs, OutputArgs, RestoreArgs};
use crate::client::Api;
use crate::config::{Config, Flag, Sources};
use crate::error::{CommandError, Exit};
use crate::table::{self, Column};

const COLUMNS: [Column; 6] = [
    ("GENERATION", "generation"),
    ("TAKEN", "taken_at"),
    ("BLOBS", "blobs"),
    ("CONTENT", "content"),
    ("DATABASE", "database"),
    ("DAMAGED", "damaged"),
];

/// Carries out `wharf backup`.
pub(super) fn run(args: &BackupArgs) -> Result<(), CommandError> {
    match &args.command {
        Some(BackupCommand::List { place, output }) => show_generations(place, output),
        Some(BackupCommand::Verify { place, deep, generation, output }) => {
            let depth = if *deep { Depth::Bytes } else { Depth::Sizes };
            verify(place, generation.clone(), depth, output)
        }
        Some(BackupCommand::Prune { place, keep, output }) => prune(place, *keep, output),
        None => create(&args.create),
    }
}

fn create(args: &CreateBackupArgs) -> Result<(), CommandError> {
    super::restrict_new_files();
    let at = BackupPlaceArgs { place: args.place.clone().unwrap_or_default(), bucket: args.bucket.clone() };
    let wish = Wish { allow_damaged: args.allow_damaged, allow_other_store: args.allow_other_store, rate: args.rate };
    let created = block_on(backup::at_place(&at, Access::Add, async |place| {
        let source: Arc<dyn Source> = match offline(args)? {
            Some(config) => Arc::new(Offline::open(&config).await?),
            None => Arc::new(Server::new(Api::connect(&args.remote)?)),
        };
        backup::create(place, source, wish, |taken| {
            if args.remote.output.json || args.remote.output.quiet {
                return Ok(());
            }
            print(&format!("snapshot taken: everything acknowledged before {} is in it\n", taken.taken_at))
        })
        .await
    }))?;
    say(&args.remote.output, &describe_created(&created), &tell(&created))
}

/// The configuration of a registry that does not run, if the backup shall be of one.
fn offline(args: &CreateBackupArgs) -> Result<Option<Config>, CommandError> {
    if args.data.is_none() && args.config.is_none() {
        return Ok(None);
    }
    configured(args.config.clone(), args.data.as_deref()).map(Some)
}

/// The configuration of a registry that does not run, with its data in that directory.
fn configured(file: Option<PathBuf>, data: Option<&Path>) -> Result<Config, CommandError> {
    let flags = data.iter().map(|data| Flag::short("data", data.to_string_lossy().into_owned())).collect();
    let sources = Sources { file, environment: std::env::vars_os().collect(), flags };
    Ok(sources.load()?.config)
}

fn describe_created(created: &Created) -> Value {
    let mut value = json!(created.about);
    value["generation"] = created.generation.name().into();
    value["copied"] = json!({ "blobs": created.copied.blobs, "bytes": created.copied.bytes });
    value
}

fn tell(created: &Created) -> String {
    let (content, copied) = (&created.about.content, created.copied);
    let mut text = format!(
        "generation {} is complete: {} blobs ({}), of which {} ({}) were copied\n\
         it has hashes of passwords and of API tokens in it, and no signing keys; keep it from others\n",
        created.generation.name(),
        content.blobs,
        table::size(content.bytes),
        copied.blobs,
        table::size(copied.bytes),
    );
    if !created.about.damaged.is_empty() {
        text += &format!("{} blobs are not in it, because the registry has lost them\n", created.about.damaged.len());
    }
    text
}

fn show_generations(at: &BackupPlaceArgs, output: &OutputArgs) -> Result<(), CommandError> {
    let items = block_on(backup::at_place(at, Access::Read, async |place| {
        let mut items = Vec::new();
        for generation in place.generations().await? {
            let mut item = match place.about(&generation).await {
                Ok(about) if output.json => json!(about),
                Ok(about) => json!({
                    "taken_at": about.taken_at,
                    "blobs": about.content.blobs,
                    "content": table::size(about.content.bytes),
                    "database": table::size(about.database.bytes),
                    "damaged": about.damaged.len(),
                }),
                // The others are worth all the more.
                Err(error) => json!({ "damaged": "cannot be read", "error": error.to_string() }),
            };
            item["generation"] = generation.name().into();
            items.push(item);
        }
        Ok(items)
    }))?;
    list(items, &COLUMNS, output)
}

fn prune(at: &BackupPlaceArgs, keep: u32, output: &OutputArgs) -> Result<(), CommandError> {
    super::restrict_new_files();
    let keep = usize::try_from(keep).unwrap_or(usize::MAX);
    let pruned = block_on(backup::at_place(at, Access::Remove, async |place| backup::prune(place, keep).await))?;
    let content = json!({ "files": pruned.content.files, "bytes": pruned.content.bytes });
    let value = json!({ "generations": pruned.generations, "content": content, "left": pruned.left });
    say(
        output,
        &value,
        &format!(
            "{} generations removed, {} left; {} blobs ({}) went with them\n",
            pruned.generations.len(),
            pruned.left,
            pruned.content.files,
            table::size(pruned.content.bytes)
        ),
    )
}

fn verify(
    at: &BackupPlaceArgs,
    generation: Option<String>,
    depth: Depth,
    output: &OutputArgs,
) -> Result<(), CommandError> {
    super::restrict_new_files();
    let scratch = at.scratch();
    let (chosen, newest, verified) = block_on(backup::at_place(at, Access::Read, async |place| {
        let all = place.generations().await?;
        let chosen = match generation {
            Some(name) => vec![Choice::Named(name).among(place, &all).await?],
            None => all,
        };
        let newest = Choice::Newest.among(place, &chosen).await?;
        let verified = backup::verify(place, &chosen, depth, &scratch).await?;
        let about = if verified.faults.is_empty() { Some(place.about(&newest).await?) } else { None };
        Ok((chosen, about.map(|about| (newest.name().to_owned(), about.taken_at)), verified))
    }))?;
    if output.json {
        print_json(&json!({
            "generations": chosen.iter().map(Generation::name).collect::<Vec<_>>(),
            "blobs": verified.blobs,
            "bytes": verified.bytes,
            "deep": depth == Depth::Bytes,
            "faults": verified.faults,
        }))?;
    } else if let Some((newest, taken_at)) = newest.as_ref().filter(|_| !output.quiet) {
        print(&sound(chosen.len(), newest, taken_at, &verified, depth))?;
    }
    if verified.faults.is_empty() {
        return Ok(());
    }
    Err(CommandError::new(Exit::Broken, format!("{} is damaged", at.place.display()))
        .with_lines(verified.faults)
        .with_hint("remove damaged content: the next backup copies it again, as long as the registry has it"))
}

fn sound(generations: usize, newest: &str, taken_at: &str, verified: &Verified, depth: Depth) -> String {
    let how = match depth {
        Depth::Sizes => "is there; --deep reads every byte of it",
        Depth::Bytes => "was read byte by byte, and every database was tried out",
    };
    format!(
        "{generations} generations are sound; the newest, {newest}, is {} old\n{} blobs ({}): all of it {how}\n",
        age(taken_at),
        verified.blobs,
        table::size(verified.bytes)
    )
}

/// How long ago that was, in the largest unit of which there are two.
fn age(taken_at: &str) -> String {
    let Ok(taken_at) = taken_at.parse::<Timestamp>() else { return "?".to_owned() };
    let seconds = SystemClock::new().now().as_micros().saturating_sub(taken_at.as_micros()).max(0) / 1_000_000;
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Carries out `wharf restore --from`.
pub(super) fn restore(args: &RestoreArgs, from: &Path) -> Result<(), CommandError> {
    super::restrict_new_files();
    let at = BackupPlaceArgs { place: from.to_owned(), bucket: args.backup.bucket.clone() };
    let data = args.backup.data.clone().unwrap_or_default();
    if let Some(what) = &args.what {
        return return_blob(&at, what, &configured(args.backup.config.clone(), Some(&data))?, &args.remote.output);
    }
    let choice = match (&args.backup.generation, &args.at) {
        (Some(name), _) => Choice::Named(name.clone()),
        (None, Some(at)) => {
            Choice::At(at.parse().map_err(|error| CommandError::new(Exit::Usage, format!("--at {at}: {error}")))?)
        }
        (None, None) => Choice::Newest,
    };
    let target = Target { data, force: args.backup.force, allow_damaged: args.backup.allow_damaged };
    let (generation, about, made) = block_on(backup::at_place(&at, Access::Read, async |place| {
        let generation = choice.among(place, &place.generations().await?).await?;
        let made = backup::restore(place, &generation, &target).await?;
        let about = place.about(&generation).await?;
        Ok((generation.name().to_owned(), about, made))
    }))?;
    if args.remote.output.json {
        return print_json(&json!({
            "generation": generation,
            "taken_at": about.taken_at,
            "store_id": made.store_id.to_string(),
            "blobs": about.content.blobs,
            "bytes": about.content.bytes,
            "lost": made.lost.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "moved_to": made.moved_to,
            "held_until": made.held_until.to_string(),
        }));
    }
    let mut text = format!(
        "{} is a registry as it was at {}: {} blobs ({})\n",
        target.data.display(),
        about.taken_at,
        about.content.blobs,
        table::size(about.content.bytes)
    );
    if let Some(aside) = &made.moved_to {
        text += &format!("what was there is in {} now\n", aside.display());
    }
    if !made.lost.is_empty() {
        text += &format!("{} blobs could not be brought back; push them again\n", made.lost.len());
    }
    text += &format!(
        "whoever was logged in logs in again; API tokens go on\n\
         nothing is collected until {}; when all is well: wharf gc release restored\n\
         start it: wharf serve --data {}\n",
        made.held_until,
        target.data.display()
    );
    say(&args.remote.output, &Value::Null, &text)
}

fn return_blob(at: &BackupPlaceArgs, what: &str, config: &Config, output: &OutputArgs) -> Result<(), CommandError> {
    let digest: Digest = what.parse().map_err(|error| {
        CommandError::new(Exit::Usage, format!("{what:?} is not a digest: {error}"))
            .with_hint("with --from, name one content by its digest, or nothing to restore the whole registry")
    })?;
    let restored =
        block_on(backup::at_place(at, Access::Read, async |place| backup::return_blob(place, &digest, config).await))?;
    let line = format!("{digest} {}\n", if restored { "is restored" } else { "was sound" });
    say(output, &json!({ "digest": what, "restored": restored }), &line)
}
