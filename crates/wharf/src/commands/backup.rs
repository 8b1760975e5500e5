//! `wharf backup`, and `wharf restore --from`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use wharf_base::{Clock, SystemClock, Timestamp};
use wharf_oci::Digest;

use super::remote::{list, print_json, say};
use super::{block_on, print};
use crate::backup::{
    self, BackupDirectory, Choice, Created, Depth, Generation, Offline, Server, Source, Target, Verified, Wish,
};
use crate::cli::{BackupArgs, BackupCommand, CreateBackupArgs, OutputArgs, RestoreArgs};
use crate::client::Api;
use crate::config::{Config, Flag, Sources, Storage};
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
        Some(BackupCommand::List { directory, output }) => show_generations(directory, output),
        Some(BackupCommand::Verify { directory, deep, generation, scratch, output }) => {
            let depth = if *deep { Depth::Bytes } else { Depth::Sizes };
            let scratch = scratch.clone().unwrap_or_else(std::env::temp_dir);
            verify(directory, generation.clone(), depth, &scratch, output)
        }
        Some(BackupCommand::Prune { directory, keep, output }) => prune(directory, *keep, output),
        None => create(&args.create, args.create.directory.as_deref().unwrap_or(Path::new(""))),
    }
}

fn create(args: &CreateBackupArgs, directory: &Path) -> Result<(), CommandError> {
    super::restrict_new_files();
    let directory = BackupDirectory::open_or_make(directory)?;
    let wish = Wish { allow_damaged: args.allow_damaged, allow_other_store: args.allow_other_store, rate: args.rate };
    let created = block_on(async {
        let source: Arc<dyn Source> = match offline(args)? {
            Some(config) => Arc::new(Offline::open(&config).await?),
            None => Arc::new(Server::new(Api::connect(&args.remote)?)),
        };
        backup::create(&directory, source, wish, |taken| {
            if args.remote.output.json || args.remote.output.quiet {
                return Ok(());
            }
            print(&format!("snapshot taken: everything acknowledged before {} is in it\n", taken.taken_at))
        })
        .await
    })?;
    say(&args.remote.output, &describe_created(&created), &tell(&created))
}

/// The configuration of a registry that does not run, if the backup shall be of one.
fn offline(args: &CreateBackupArgs) -> Result<Option<Config>, CommandError> {
    if args.data.is_none() && args.config.is_none() {
        return Ok(None);
    }
    let flags = args.data.iter().map(|data| Flag::short("data", data.to_string_lossy().into_owned())).collect();
    let sources = Sources { file: args.config.clone(), environment: std::env::vars_os().collect(), flags };
    Ok(Some(sources.load()?.config))
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

fn show_generations(directory: &Path, output: &OutputArgs) -> Result<(), CommandError> {
    let directory = BackupDirectory::open(directory)?;
    let mut items = Vec::new();
    for generation in directory.generations()? {
        let mut item = match generation.about() {
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
    list(items, &COLUMNS, output)
}

fn prune(directory: &Path, keep: u32, output: &OutputArgs) -> Result<(), CommandError> {
    super::restrict_new_files();
    let directory = BackupDirectory::open_to_remove(directory)?;
    let pruned = backup::prune(&directory, usize::try_from(keep).unwrap_or(usize::MAX))?;
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
    directory: &Path,
    generation: Option<String>,
    depth: Depth,
    scratch: &Path,
    output: &OutputArgs,
) -> Result<(), CommandError> {
    super::restrict_new_files();
    let directory = BackupDirectory::open(directory)?;
    let all = directory.generations()?;
    let chosen = match generation {
        Some(name) => vec![Choice::Named(name).among(&all)?],
        None => all,
    };
    let newest = Choice::Newest.among(&chosen)?;
    let verified = block_on(backup::verify(&directory, &chosen, depth, scratch))?;
    if output.json {
        print_json(&json!({
            "generations": chosen.iter().map(Generation::name).collect::<Vec<_>>(),
            "blobs": verified.blobs,
            "bytes": verified.bytes,
            "deep": depth == Depth::Bytes,
            "faults": verified.faults,
        }))?;
    } else if verified.faults.is_empty() && !output.quiet {
        print(&sound(&chosen, &newest, &verified, depth)?)?;
    }
    if verified.faults.is_empty() {
        return Ok(());
    }
    Err(CommandError::new(Exit::Broken, format!("{} is damaged", directory.path().display()))
        .with_lines(verified.faults)
        .with_hint("remove damaged content: the next backup copies it again, as long as the registry has it"))
}

fn sound(
    chosen: &[Generation],
    newest: &Generation,
    verified: &Verified,
    depth: Depth,
) -> Result<String, CommandError> {
    let how = match depth {
        Depth::Sizes => "is there; --deep reads every byte of it",
        Depth::Bytes => "was read byte by byte, and every database was tried out",
    };
    let about = newest.about()?;
    Ok(format!(
        "{} generations are sound; the newest, {}, is {} old\n{} blobs ({}): all of it {how}\n",
        chosen.len(),
        newest.name(),
        age(&about.taken_at),
        verified.blobs,
        table::size(verified.bytes)
    ))
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
    let directory = BackupDirectory::open(from)?;
    let data = args.backup.data.clone().unwrap_or_default();
    if let Some(what) = &args.what {
        return return_blob(&directory, what, data, &args.remote.output);
    }
    let choice = match (&args.backup.generation, &args.at) {
        (Some(name), _) => Choice::Named(name.clone()),
        (None, Some(at)) => {
            Choice::At(at.parse().map_err(|error| CommandError::new(Exit::Usage, format!("--at {at}: {error}")))?)
        }
        (None, None) => Choice::Newest,
    };
    let generation = choice.among(&directory.generations()?)?;
    let target = Target { data, force: args.backup.force, allow_damaged: args.backup.allow_damaged };
    let made = backup::restore(&directory, &generation, &target)?;
    let about = generation.about()?;
    if args.remote.output.json {
        return print_json(&json!({
            "generation": generation.name(),
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

fn return_blob(
    directory: &BackupDirectory,
    what: &str,
    data: PathBuf,
    output: &OutputArgs,
) -> Result<(), CommandError> {
    let digest: Digest = what.parse().map_err(|error| {
        CommandError::new(Exit::Usage, format!("{what:?} is not a digest: {error}"))
            .with_hint("with --from, name one content by its digest, or nothing to restore the whole registry")
    })?;
    let config = Config { storage: Storage { data, ..Storage::default() }, ..Config::default() };
    let restored = block_on(backup::return_blob(directory, &digest, &config))?;
    let line = format!("{digest} {}\n", if restored { "is restored" } else { "was sound" });
    say(output, &json!({ "digest": what, "restored": restored }), &line)
}
