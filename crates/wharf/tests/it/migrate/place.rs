//! Where a registry is: a configuration file, and what it names.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use wharf_testkit::{PostgresDatabase, PostgresServer};

use crate::harness::{Wharf, bucket};

pub struct Place {
    directory: TempDir,
    data: PathBuf,
    settings: Vec<(&'static str, &'static str, String)>,
}

impl Place {
    /// Everything in a directory.
    pub fn embedded() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::at(directory.path().join("data"), Vec::new(), directory)
    }

    /// Metadata in PostgreSQL, content in a bucket.
    pub fn scaled_out() -> Self {
        Self::embedded().add(postgres()).add_bucket()
    }

    /// The embedded database, and content in a bucket.
    pub fn in_a_bucket() -> Self {
        Self::embedded().add_bucket()
    }

    /// The same directory, with a PostgreSQL database.
    pub fn with_postgres(&self) -> Self {
        self.another().add(postgres())
    }

    /// The same directory, with a bucket.
    pub fn with_bucket(&self) -> Self {
        self.another().add_bucket()
    }

    fn another(&self) -> Self {
        Self::at(self.data.clone(), self.settings.clone(), tempfile::tempdir().unwrap())
    }

    fn at(data: PathBuf, settings: Vec<(&'static str, &'static str, String)>, directory: TempDir) -> Self {
        let place = Self { directory, data, settings };
        place.write();
        place
    }

    fn add_bucket(self) -> Self {
        let prefix =
            self.directory.path().file_name().unwrap().to_str().unwrap().replace(|c: char| !c.is_alphanumeric(), "");
        let url = format!("{:?}", bucket::url_below(&prefix));
        self.add(("storage", "url", url))
            .add(("storage", "endpoint", format!("\"http://{}\"", bucket::address())))
            .add(("storage", "allow_http", "true".to_owned()))
    }

    fn add(mut self, setting: (&'static str, &'static str, String)) -> Self {
        self.settings.push(setting);
        self.write();
        self
    }

    fn write(&self) {
        let mut text = format!("storage.data = {:?}\n", self.data);
        for (section, key, value) in &self.settings {
            text += &format!("{section}.{key} = {value}\n");
        }
        std::fs::write(self.file(), text).unwrap();
    }

    pub fn file(&self) -> String {
        self.directory.path().join("wharf.toml").to_str().unwrap().to_owned()
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Serves what is there.
    #[track_caller]
    pub fn start(&self) -> Wharf {
        self.builder().start()
    }

    /// It is no registry, and says why.
    #[track_caller]
    pub fn refuses(&self, why: &str) {
        let Err(ended) = self.builder().try_start() else { panic!("{} is a registry", self.file()) };
        assert!(ended.log.contains(why), "{}", ended.log);
    }

    fn builder(&self) -> crate::harness::Builder {
        let builder = Wharf::embedded().data_at(&self.data).accounts().arg("--config").arg(self.file());
        bucket::credentials().into_iter().fold(builder, |builder, (name, value)| builder.env(name, value))
    }
}

fn postgres() -> (&'static str, &'static str, String) {
    let PostgresDatabase { url, .. } = PostgresServer::shared().database();
    ("metadata", "url", format!("{url:?}"))
}

/// The objects with content that its bucket has.
pub fn objects(place: &Place) -> Vec<PathBuf> {
    let found = std::fs::read_dir(below(place, "blobs")).into_iter().flatten().map(|entry| entry.unwrap().path());
    found.filter(|path| path.is_file()).collect()
}

/// What uploads have left behind in its bucket.
pub fn staged(place: &Place) -> Vec<PathBuf> {
    let uploads = std::fs::read_dir(below(place, "uploads")).into_iter().flatten();
    let objects = uploads.flat_map(|upload| std::fs::read_dir(upload.unwrap().path()).into_iter().flatten());
    objects.map(|entry| entry.unwrap().path()).collect()
}

fn below(place: &Place, part: &str) -> PathBuf {
    let (_, _, url) = place.settings.iter().find(|(section, key, _)| (*section, *key) == ("storage", "url")).unwrap();
    bucket::directory_of(url.trim_matches('"')).join(part)
}
