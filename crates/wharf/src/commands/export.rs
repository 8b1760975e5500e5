//! `wharf export`: images out of a registry, into an OCI image layout.

use wharf_copy::{ArchiveWriter, DirectoryWriter, Names, Options, Registry};

use super::block_on;
use super::copying::{failed, filter, parse_name, registry, run as copy, tell};
use crate::cli::ExportArgs;
use crate::error::CommandError;

/// Carries out the command.
pub(super) fn run(args: &ExportArgs) -> Result<(), CommandError> {
    let options = options(args)?;
    let source = registry(&args.remote)?;
    let report = block_on(async {
        if is_archive(args) {
            to_archive(&source, args, &options).await
        } else {
            to_directory(&source, args, &options).await
        }
    })?;
    tell(&report, &args.remote)
}

fn options(args: &ExportArgs) -> Result<Options, CommandError> {
    Ok(Options {
        names: Names::These(args.what.iter().map(|text| parse_name(text)).collect::<Result<_, _>>()?),
        tags: filter(&args.tags)?,
        rename: Box::new(|name| Some(name.clone())),
        referrers: !args.no_referrers,
        jobs: if is_archive(args) { 1 } else { usize::from(args.jobs) },
    })
}

fn is_archive(args: &ExportArgs) -> bool {
    args.destination.extension().is_some_and(|extension| extension == "tar")
}

async fn to_archive(
    source: &Registry,
    args: &ExportArgs,
    options: &Options,
) -> Result<wharf_copy::Report, CommandError> {
    let writer = ArchiveWriter::create(&args.destination, &host(source)).map_err(failed)?;
    match copy(source, &writer, options).await {
        Ok(report) => {
            writer.finish().await.map_err(failed)?;
            Ok(report)
        }
        Err(error) => {
            writer.abandon();
            Err(error)
        }
    }
}

async fn to_directory(
    source: &Registry,
    args: &ExportArgs,
    options: &Options,
) -> Result<wharf_copy::Report, CommandError> {
    let writer = DirectoryWriter::create(&args.destination, &host(source)).map_err(failed)?;
    let report = copy(source, &writer, options).await?;
    writer.finish().await.map_err(failed)?;
    Ok(report)
}

/// What stands before the names of images from there.
fn host(source: &Registry) -> String {
    let address = source.address();
    address.split_once("://").map_or(address.clone(), |(_, host)| host.to_owned())
}
