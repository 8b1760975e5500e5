//! `wharf import`: repositories from another registry, an OCI image layout, or the storage of distribution, through the API
//! of the server that runs.

use std::path::Path;

use url::Url;
use wharf_base::Secret;
use wharf_copy::{DistributionStore, LayoutSource, Login, Names, Options, Registry, Report, Source};
use wharf_oci::RepositoryName;

use super::block_on;
use super::copying::{Named, failed, filter, login_of, parse_name, registry, run as copy, tell};
use super::remote::secret;
use crate::cli::{ImportArgs, SourceArgs};
use crate::client;
use crate::credentials;
use crate::error::{CommandError, Exit};

/// The source's password, if it is not on standard input.
const PASSWORD: &str = "WHARF_SOURCE_PASSWORD";

/// Where Docker's `docker.io` really is.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// Carries out the command.
pub(super) fn run(args: &ImportArgs) -> Result<(), CommandError> {
    let target = registry(&args.remote)?;
    let rename = args.rename.as_deref().map(repository_name).transpose()?;
    let report = block_on(async {
        target.ping().await.map_err(failed)?;
        match &args.distribution_dir {
            Some(directory) => {
                let source = DistributionStore::open(directory).map_err(failed)?;
                import(&source, &target, None, args, rename).await
            }
            None => {
                let source = args.source.as_deref().unwrap_or_default();
                match place(source, &args.at_source)? {
                    Place::Layout(path) => {
                        let layout = LayoutSource::open(Path::new(path), rename.as_ref()).map_err(failed)?;
                        import(&layout, &target, None, args, rename).await
                    }
                    Place::Registry { base, what } => {
                        let source = source_registry(base, &args.at_source)?;
                        import(&source, &target, what, args, rename).await
                    }
                }
            }
        }
    })?;
    tell(&report, &args.remote)
}

async fn import(
    source: &dyn Source,
    target: &Registry,
    what: Option<Named>,
    args: &ImportArgs,
    rename: Option<RepositoryName>,
) -> Result<Report, CommandError> {
    let options = options(what, args, rename)?;
    if let (Some(_), Names::All(wanted)) = (&args.rename, &options.names) {
        let repositories = source.repositories().await.map_err(failed)?;
        let count = repositories.iter().filter(|name| wanted(name)).count();
        if count > 1 {
            let problem = format!("--as is for one repository, and there are {count}");
            return Err(CommandError::new(Exit::Usage, problem).with_hint("use --into PREFIX, or name one of them"));
        }
    }
    copy(source, target, &options).await.map_err(|error| match error.exit() {
        // The server has let one in by now.
        Exit::NotLoggedIn => error.with_hint(
            "say who you are at the source: --source-username NAME, with the password in WHARF_SOURCE_PASSWORD",
        ),
        _ => error,
    })
}

fn options(what: Option<Named>, args: &ImportArgs, rename: Option<RepositoryName>) -> Result<Options, CommandError> {
    let wanted = filter(&args.repositories)?;
    let names = match (what, wanted) {
        (Some(_), Some(_)) => {
            return Err(CommandError::new(Exit::Usage, "--repository chooses among all; the source names one already"));
        }
        (Some(named), None) => Names::These(vec![named]),
        (None, wanted) => Names::All(wanted.unwrap_or_else(|| Box::new(|_| true))),
    };
    let prefix = args.into.as_deref().map(repository_name).transpose()?;
    Ok(Options {
        names,
        tags: filter(&args.tags)?,
        rename: Box::new(move |name| match (&rename, &prefix) {
            (Some(rename), _) => Some(rename.clone()),
            (None, Some(prefix)) => format!("{prefix}/{name}").parse().ok(),
            (None, None) => Some(name.clone()),
        }),
        referrers: !args.no_referrers,
        jobs: usize::from(args.jobs),
    })
}

fn repository_name(text: &str) -> Result<RepositoryName, CommandError> {
    let wrong = |error| CommandError::new(Exit::Usage, format!("{text:?} is not the name of a repository: {error}"));
    text.trim_end_matches('/').parse().map_err(wrong)
}

/// What SOURCE means.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    Layout(&'a str),
    Registry { base: Url, what: Option<Named> },
}

/// A URL; what is there as a file; or else a host with what follows it.
fn place<'a>(text: &'a str, at_source: &SourceArgs) -> Result<Place<'a>, CommandError> {
    let has_scheme = text.contains("://");
    if !has_scheme && Path::new(text).exists() {
        return Ok(Place::Layout(text));
    }
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let is_host = has_scheme || host == "localhost" || host.contains(['.', ':']);
    if !is_host {
        let problem = format!("{text:?} is neither a file that is there nor a registry");
        return Err(CommandError::new(Exit::Usage, problem).with_hint(
            "write for example https://registry.example.org, registry.example.org/team/app:1.0 or images.tar",
        ));
    }
    let (host, path) = match host {
        "docker.io" | "index.docker.io" if !path.is_empty() && !path.contains('/') => {
            (DOCKER_HUB, format!("library/{path}"))
        }
        "docker.io" | "index.docker.io" => (DOCKER_HUB, path.to_owned()),
        host => (host, path.to_owned()),
    };
    let address = if has_scheme { format!("{scheme}://{host}") } else { format!("{}{host}", default_scheme(host)) };
    let base = client::parse_server(&address, at_source.source_plain_http).map_err(|error| {
        if error.to_string().contains("not encrypted") {
            error.with_hint("use https://, or say --source-plain-http if the way there is safe")
        } else {
            error
        }
    })?;
    let path = path.trim_matches('/');
    let what = if path.is_empty() { None } else { Some(parse_name(path)?) };
    Ok(Place::Registry { base, what })
}

/// Registries on this machine speak no TLS, mostly.
fn default_scheme(host: &str) -> &'static str {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if matches!(name, "localhost" | "127.0.0.1" | "[::1]") { "http://" } else { "https://" }
}

fn source_registry(base: Url, args: &SourceArgs) -> Result<Registry, CommandError> {
    let all = credentials::read(&credentials::path()?)?;
    let kept = all.of_server(&client::key(&base)).map(|(_, entry)| entry.clone());
    let (login, kept_ca) = match (&args.source_username, kept) {
        (Some(name), _) => (Login::Password(name.clone(), password(args)?), None),
        (None, Some(kept)) => (login_of(client::Login::Token(kept.token.into())), kept.ca_certificate),
        (None, None) => (Login::Nobody, None),
    };
    let ca = args.source_ca_certificate.clone().or(kept_ca);
    let authorities = ca.as_deref().map(client::read_certificates).transpose()?;
    Registry::new(base, login, args.source_plain_http, authorities.as_deref()).map_err(failed)
}

fn password(args: &SourceArgs) -> Result<Secret<String>, CommandError> {
    match std::env::var(PASSWORD) {
        Ok(password) if !args.source_password_stdin => Ok(password.into()),
        _ => secret("Password at the source", args.source_password_stdin),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Place, place};
    use crate::cli::SourceArgs;

    #[test]
    fn a_source_is_a_registry_or_a_file() {
        let told = |text: &str| match place(text, &SourceArgs::default()) {
            Ok(Place::Layout(path)) => format!("layout {path}"),
            Ok(Place::Registry { base, what }) => {
                let what = what.map_or_else(String::new, |(name, reference)| {
                    format!(" {name} {}", reference.map_or_else(String::new, |one| one.to_string()))
                });
                format!("{base}{what}")
            }
            Err(error) => error.to_string().lines().next().unwrap_or_default().to_owned(),
        };
        assert_eq!(told("https://old.example.org"), "https://old.example.org/");
        assert_eq!(told("https://old.example.org:5000/team/app:1.0"), "https://old.example.org:5000/ team/app 1.0");
        assert_eq!(told("old.example.org/team/app"), "https://old.example.org/ team/app ");
        assert_eq!(told("localhost:5000/app"), "http://localhost:5000/ app ");
        assert_eq!(told("127.0.0.1:5000"), "http://127.0.0.1:5000/");
        assert_eq!(told("docker.io/alpine:3"), "https://registry-1.docker.io/ library/alpine 3");
        assert_eq!(told("docker.io/grafana/grafana"), "https://registry-1.docker.io/ grafana/grafana ");
        assert_eq!(told("/tmp"), "layout /tmp");
        assert!(told("nothing-here").contains("neither a file that is there nor a registry"));
        assert!(told("http://old.example.org").contains("is not encrypted"));
        assert!(told("https://old.example.org/Team").contains("\"Team\""));
    }
}
