use std::path::PathBuf;

use clap::Args;

/// Arguments of `wharf bench`.
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// Registries to measure side by side, each a URL, or NAME=URL to call it something
    #[arg(value_name = "[NAME=]URL", required_unless_present = "list")]
    pub servers: Vec<String>,
    /// Measure only this work; repeat it, or separate several with commas. --list names all
    #[arg(long, value_name = "WORK", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Leave this work out
    #[arg(long, value_name = "WORK", value_delimiter = ',', conflicts_with = "only")]
    pub skip: Vec<String>,
    /// Name all kinds of work, and measure nothing
    #[arg(long)]
    pub list: bool,
    /// How often each work is measured at each server, in turn
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rounds: u16,
    /// For how long each time
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = crate::cli::bench::time)]
    pub time: std::time::Duration,
    /// For how long before, without being measured
    #[arg(long, value_name = "TIME", default_value = "300ms", value_parser = crate::cli::bench::time)]
    pub warm_up: std::time::Duration,
    /// Size of a large blob
    #[arg(long, value_name = "SIZE", default_value = "64 MiB")]
    pub large: wharf_base::ByteSize,
    /// Size of a huge blob
    #[arg(long, value_name = "SIZE", default_value = "256 MiB")]
    pub huge: wharf_base::ByteSize,
    /// How many tags there are when the first hundred are listed
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub tags: u32,
    /// Process id of a server of this machine, to measure its processor time and memory, with its children's
    #[arg(long, value_name = "NAME=PID")]
    pub pid: Vec<String>,
    /// A web server of files, as a measure of what is possible; DIR is the directory that it serves, and is written to
    #[arg(long, value_name = "NAME=URL,DIR")]
    pub files: Vec<String>,
    /// Show what the client itself can do, with a built-in web server that does nothing
    #[arg(long)]
    pub limit: bool,
    /// Account to log in with; its password, or a token, is read from WHARF_BENCH_PASSWORD
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Certificates of authorities to believe instead of the system's, in PEM
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Write a picture in SVG
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Write the result as JSON instead of tables
    #[arg(long)]
    pub json: bool,
}

/// A time such as `2s` or `300ms`, of at least a millisecond and at most an hour.
pub(super) fn time(text: &str) -> Result<std::time::Duration, String> {
    let time: wharf_base::HumanDuration = text.parse()?;
    match time.get() {
        time if time.as_millis() == 0 || time.as_secs() > 3_600 => Err("it is not from 1ms to 1h".to_owned()),
        time => Ok(time),
    }
}
