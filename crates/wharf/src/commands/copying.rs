//! What `wharf import` and `wharf export` have in common: names, the place of the server, and what is said meanwhile.

use std::sync::Arc;

use wharf_copy::{Error, Filter, Login, Names, Options, Problem, Registry, Report, Source, Target, Watch, copy};
use wharf_oci::{Reference, RepositoryName, Tag};
use wharf_policy::Pattern;

use super::remote::say;
use crate::cli::RemoteArgs;
use crate::client::{self, Server};
use crate::error::{CommandError, Exit};
use crate::progress::Progress;
use crate::table;
use crate::text::visible;

/// A repository, or one image of it.
pub(super) type Named = (RepositoryName, Option<Reference>);

/// `REPOSITORY`, `REPOSITORY:TAG` or `REPOSITORY@DIGEST`.
pub(super) fn parse_name(text: &str) -> Result<Named, CommandError> {
    let (name, reference) = match (text.split_once('@'), text.rsplit_once(':')) {
        (Some((name, digest)), _) => (name, Some(digest)),
        (None, Some((name, tag))) if !tag.contains('/') => (name, Some(tag)),
        _ => (text, None),
    };
    let wrong = |error: &dyn std::fmt::Display| {
        CommandError::new(Exit::Usage, format!("{text:?}: {error}"))
            .with_hint("write REPOSITORY, REPOSITORY:TAG or REPOSITORY@DIGEST, for example team/app:1.0")
    };
    let repository = name.parse().map_err(|error: wharf_oci::NameError| wrong(&error))?;
    let reference = reference.map(str::parse).transpose().map_err(|error: wharf_oci::ReferenceError| wrong(&error))?;
    Ok((repository, reference))
}

/// `REPOSITORY:TAG` or `REPOSITORY@DIGEST`.
pub(super) fn parse_image(text: &str) -> Result<(RepositoryName, Reference), CommandError> {
    match parse_name(text)? {
        (repository, Some(reference)) => Ok((repository, reference)),
        (_, None) => {
            Err(CommandError::new(Exit::Usage, format!("{text:?} is neither REPOSITORY:TAG nor REPOSITORY@DIGEST"))
                .with_hint("write for example team/app:1.0"))
        }
    }
}

/// `REPOSITORY:TAG`.
pub(super) fn parse_tag(text: &str) -> Result<(RepositoryName, Tag), CommandError> {
    match parse_image(text)? {
        (repository, Reference::Tag(tag)) => Ok((repository, tag)),
        (_, Reference::Digest(_)) => {
            Err(CommandError::new(Exit::Usage, format!("{text:?} names a digest; name a tag as REPOSITORY:TAG")))
        }
    }
}

/// What matches one of the patterns; `None` if there are none.
pub(super) fn filter(patterns: &[String]) -> Result<Option<Filter>, CommandError> {
    let parse = |text: &String| {
        let wrong = |error| CommandError::new(Exit::Usage, format!("{text:?} is not a pattern: {error}"));
        text.parse::<Pattern>().map_err(wrong)
    };
    let patterns: Vec<Pattern> = patterns.iter().map(parse).collect::<Result<_, _>>()?;
    if patterns.is_empty() {
        return Ok(None);
    }
    Ok(Some(Box::new(move |name: &str| patterns.iter().any(|pattern| pattern.matches(name)))))
}

/// The registry of a command, as a client of the distribution protocol.
pub(super) fn registry(args: &RemoteArgs) -> Result<Registry, CommandError> {
    let Server { base, login, ca } = Server::of(args)?;
    let authorities = ca.as_deref().map(client::read_certificates).transpose()?;
    Registry::new(base, login_of(login), args.insecure_http, authorities.as_deref()).map_err(failed)
}

/// The same credentials for the distribution protocol.
pub(super) fn login_of(login: client::Login) -> Login {
    match login {
        client::Login::Nobody => Login::Nobody,
        client::Login::Password(name, password) => Login::Password(name, password),
        client::Login::Token(token) => Login::Token(token),
    }
}

/// Copies, with a bar on a terminal and a line for each problem.
pub(super) async fn run(source: &dyn Source, target: &dyn Target, options: &Options) -> Result<Report, CommandError> {
    let teller = Arc::new(Teller(Progress::new("copying", 0)));
    let report = copy(source, target, options, Arc::clone(&teller) as Arc<dyn Watch>).await;
    teller.0.finish();
    report.map_err(|error| {
        let is_wrong_name =
            matches!((&error, &options.names), (Error::Refused { .. } | Error::Absent(_), Names::All(_)));
        let failed = failed(error);
        if is_wrong_name {
            failed.with_hint("a registry that does not list its repositories has to be told which: HOST/REPOSITORY")
        } else {
            failed
        }
    })
}

/// Says what the copy came to; an error if not everything could be copied.
pub(super) fn tell(report: &Report, args: &RemoteArgs) -> Result<(), CommandError> {
    say(&args.output, &serde_json::to_value(report).unwrap_or_default(), &summary(report))?;
    match report.problems_total {
        0 => Ok(()),
        1 => Err(CommandError::new(Exit::Broken, "one thing could not be copied; it is named above")),
        problems => {
            Err(CommandError::new(Exit::Broken, format!("{problems} things could not be copied; they are named above")))
        }
    }
    .map_err(|error| {
        error.with_hint("mend them at the source and run the same command again; what was copied is skipped")
    })
}

fn summary(report: &Report) -> String {
    let mounted = match report.blobs_mounted {
        0 => String::new(),
        blobs => format!(", {blobs} taken over from other repositories"),
    };
    format!(
        "tags       {}\nmanifests  {} copied, {} there already\nblobs      {} copied ({}), {} there already{mounted}\n",
        report.tags,
        report.manifests_copied,
        report.manifests_there,
        report.blobs_copied,
        table::size(report.bytes_copied),
        report.blobs_there,
    )
}

struct Teller(Progress);

impl Watch for Teller {
    fn found(&self, bytes: u64) {
        self.0.expect(bytes);
    }

    fn moved(&self, bytes: u64) {
        self.0.add(bytes);
    }

    fn copied(&self, name: &str) {
        self.0.show(name);
    }

    fn problem(&self, problem: &Problem) {
        self.0.say(&format!("not copied: {}: {}", visible(&problem.what), visible(&problem.why)));
    }
}

/// The exit code of what went wrong, and what to do about it.
pub(super) fn failed(error: Error) -> CommandError {
    let message = error.to_string();
    match error {
        Error::NotLoggedIn { server, .. } => {
            CommandError::new(Exit::NotLoggedIn, message).with_hint(format!("run `wharf login {server}`"))
        }
        Error::Denied { .. } => CommandError::new(Exit::Denied, message),
        Error::Unreachable { .. } | Error::BrokeOff { .. } => CommandError::new(Exit::Unreachable, message)
            .with_hint("see that the server runs and that its address is right, and run the command again"),
        Error::Busy { .. } => CommandError::new(Exit::Unreachable, message).with_hint("try again later"),
        Error::Absent(_) | Error::Refused { .. } => CommandError::new(Exit::Refused, message),
        Error::Damaged { .. } => CommandError::new(Exit::Broken, message),
        Error::Unnamed(_) => CommandError::new(Exit::Usage, message)
            .with_hint("name the repository with --as, for example --as team/app"),
        Error::Usage(_) => CommandError::new(Exit::Usage, message),
        Error::Io { doing, source } => CommandError::unexpected(doing, source),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{filter, parse_name};

    #[test]
    fn a_name_is_a_repository_or_an_image_of_it() {
        let parsed = |text: &str| {
            parse_name(text).ok().map(|(name, reference)| (name.to_string(), reference.map(|one| one.to_string())))
        };
        let digest = format!("sha256:{}", "0".repeat(64));
        let some = |name: &str, reference: Option<&str>| Some((name.to_owned(), reference.map(str::to_owned)));
        assert_eq!(parsed("team/app"), some("team/app", None));
        assert_eq!(parsed("team/app:1.0"), some("team/app", Some("1.0")));
        assert_eq!(parsed(&format!("team/app@{digest}")), some("team/app", Some(&digest)));
        assert_eq!(parsed("Team/App"), None);
        assert_eq!(parsed("team/app:no tag"), None);
        assert_eq!(parsed("team/app@sha256:12"), None);
    }

    #[test]
    fn one_pattern_of_several_is_enough() {
        let wanted = filter(&["team/**".to_owned(), "base".to_owned()]).unwrap().unwrap();
        assert!(wanted("team/a/b") && wanted("base") && !wanted("other"));
        assert!(filter(&[]).unwrap().is_none());
        assert!(filter(&["[".to_owned()]).is_err());
    }
}
