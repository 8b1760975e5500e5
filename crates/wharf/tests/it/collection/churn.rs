//! A client that never stops: it pushes images that share layers with those of others, looks before it uploads, mounts,
//! deletes, moves tags, restores and pulls, and knows what must be there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::json;
use wharf_base::{Rng, SeededRng};

use crate::harness::{Client, Image, OCI_MANIFEST, Reply, Request, content, layer, sha256};

/// Layers that all images choose from.
const LAYERS: u64 = 24;

/// The longest time between "it is there" and the manifest that names it for which the promise of a grace period of one
/// second holds.
const PROMISED: Duration = Duration::from_millis(900);

/// The connection is gone: the server was killed.
#[derive(Debug)]
struct Gone;

type Done = Result<(), Gone>;

/// Whether an image is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    There,
    Gone,
    /// Something was asked for and not answered.
    Open,
}

/// One client with a repository of its own.
pub struct Churn {
    number: u64,
    turn: u64,
    rng: SeededRng,
    client: Client,
    repository: String,
    images: BTreeMap<String, (Image, Fate)>,
    /// Where the tag may point; `None` for nowhere.
    tag: BTreeSet<Option<String>>,
    done: u64,
}

impl Churn {
    /// Client `number`; all that it does follows from that.
    pub fn new(number: u64, client: &Client) -> Self {
        Self {
            number,
            turn: 0,
            rng: SeededRng::new(number),
            client: client.another(),
            repository: format!("churn/r{number}"),
            images: BTreeMap::new(),
            tag: [None].into(),
            done: 0,
        }
    }

    /// The server has another address now.
    pub fn connect_to(&mut self, client: &Client) {
        self.client = client.another();
    }

    /// How many requests of it were answered.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Every blob of an image that is there.
    pub fn live_blobs(&self) -> BTreeSet<String> {
        let there = self.images.values().filter(|(_, fate)| *fate == Fate::There);
        there.flat_map(|(image, _)| image.blobs().map(|blob| sha256(blob)).collect::<Vec<_>>()).collect()
    }

    /// Works until then, or until the server is gone.
    pub async fn run_until(mut self, until: Instant) -> Self {
        while Instant::now() < until {
            self.turn += 1;
            let done = match self.draw(10) {
                0..=3 => self.push_image().await,
                4 => self.push_orphan().await,
                5 | 6 => self.delete_image().await,
                7 => self.restore_image().await,
                _ => self.pull_image().await,
            };
            if done.is_err() {
                break;
            }
        }
        self
    }

    fn draw(&self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        self.rng.fill(&mut bytes);
        u64::from_le_bytes(bytes) % bound
    }

    async fn send(&mut self, request: Request) -> Result<Reply, Gone> {
        let reply = self.client.try_send(&request).await.map_err(|_| Gone)?;
        self.done += 1;
        Ok(reply)
    }

    /// An image of two shared layers and a configuration of its own.
    fn image(&self) -> Image {
        let shared = |number: u64| layer(&format!("shared-{number}"), &content(1_000 + number, 3_000));
        let own = layer("own", &content(self.number << 32 | self.turn, 100));
        Image::of(vec![shared(self.draw(LAYERS)), shared(self.draw(LAYERS)), own], "amd64")
    }

    async fn push_image(&mut self) -> Done {
        let image = self.image();
        let digest = image.digest();
        // A try or two are the client's: it may have been too slow for a grace period of a second.
        loop {
            let begun = Instant::now();
            for blob in image.blobs() {
                self.have_blob(blob).await?;
            }
            self.images.insert(digest.clone(), (image.clone(), Fate::Open));
            let tagged = self.draw(2) == 0;
            let reference = if tagged { "tag".to_owned() } else { digest.clone() };
            if tagged {
                self.tag.insert(Some(digest.clone()));
            }
            let target = format!("/v2/{}/manifests/{reference}", self.repository);
            let request = Request::new("PUT", target).header("Content-Type", OCI_MANIFEST);
            let reply = self.send(request.body(image.manifest.clone())).await?;
            if reply.status == 201 {
                self.settle_image(&digest, Fate::There);
                if tagged {
                    self.tag = [Some(digest)].into();
                }
                return Ok(());
            }
            let was_slow = begun.elapsed() > PROMISED;
            assert!(reply.status == 400 && was_slow, "after {:?}: {reply}", begun.elapsed());
        }
    }

    fn settle_image(&mut self, digest: &str, fate: Fate) {
        if let Some((_, known)) = self.images.get_mut(digest) {
            *known = fate;
        }
    }

    /// Looks first, tries to mount second, uploads third, as clients do.
    async fn have_blob(&mut self, blob: &[u8]) -> Done {
        let digest = sha256(blob);
        let looked = self.send(Request::new("HEAD", format!("/v2/{}/blobs/{digest}", self.repository))).await?;
        if looked.status == 200 {
            return Ok(());
        }
        assert_eq!(looked.status, 404, "{looked}");
        let uploads = format!("/v2/{}/blobs/uploads/", self.repository);
        let other = self.draw(16);
        let mount = format!("{uploads}?mount={digest}&from=churn/r{other}");
        let mounted = self.send(Request::new("POST", mount).body("")).await?;
        if mounted.status == 201 {
            return Ok(());
        }
        let location = mounted.expect(202).header("location").expect("a location").to_owned();
        let target = crate::harness::with_digest(&location, &digest);
        self.send(Request::new("PUT", target).body(blob.to_vec())).await?.expect(201);
        Ok(())
    }

    async fn push_orphan(&mut self) -> Done {
        let blob = content(self.number << 40 | self.turn, 2_000);
        self.have_blob(&blob).await
    }

    fn some_image(&self, wanted: Fate) -> Option<String> {
        let there: Vec<_> = self.images.iter().filter(|(_, (_, fate))| *fate == wanted).map(|(d, _)| d).collect();
        if there.is_empty() { None } else { Some(there[self.draw(there.len() as u64) as usize].clone()) }
    }

    async fn delete_image(&mut self) -> Done {
        let Some(digest) = self.some_image(Fate::There) else { return Ok(()) };
        self.settle_image(&digest, Fate::Open);
        let was_tagged = self.tag.contains(&Some(digest.clone()));
        if was_tagged {
            self.tag.insert(None);
        }
        let target = format!("/v2/{}/manifests/{digest}", self.repository);
        self.send(Request::new("DELETE", target)).await?.expect(202);
        self.settle_image(&digest, Fate::Gone);
        if was_tagged {
            self.tag.remove(&Some(digest));
        }
        Ok(())
    }

    /// What was deleted a moment ago comes back; what was deleted long ago does not, and says so.
    async fn restore_image(&mut self) -> Done {
        let Some(digest) = self.some_image(Fate::Gone) else { return Ok(()) };
        self.settle_image(&digest, Fate::Open);
        self.tag.insert(Some(digest.clone()));
        let target = format!("/api/v1/restore?repository={}", self.repository);
        let request = Request::new("POST", target).header("Content-Type", "application/json");
        let reply = self.send(request.body(json!({ "digest": digest }).to_string())).await?;
        match reply.status {
            200 => {
                self.settle_image(&digest, Fate::There);
                if reply.json()["tags"] == json!(["tag"]) {
                    self.tag = [Some(digest)].into();
                } else {
                    self.tag.remove(&Some(digest));
                }
            }
            404 => {
                self.settle_image(&digest, Fate::Gone);
                self.tag.remove(&Some(digest));
            }
            _ => panic!("{reply}"),
        }
        Ok(())
    }

    async fn pull_image(&mut self) -> Done {
        let Some(digest) = self.some_image(Fate::There) else { return Ok(()) };
        let image = self.images[&digest].0.clone();
        let target = format!("/v2/{}/manifests/{digest}", self.repository);
        let reply = self.send(Request::new("GET", target)).await?.expect(200);
        assert_eq!(reply.body, image.manifest);
        for blob in image.blobs() {
            let target = format!("/v2/{}/blobs/{}", self.repository, sha256(blob));
            let reply = self.send(Request::new("GET", target)).await?.expect(200);
            assert!(reply.body == *blob, "{reply}");
        }
        Ok(())
    }

    /// Compares all that it knows with what is there; what was open is settled by what is found.
    pub async fn verify(&mut self, client: &mut Client) {
        for (digest, (image, fate)) in &mut self.images {
            let reply = client.get(&format!("/v2/{}/manifests/{digest}", self.repository)).await;
            let found = match reply.status {
                200 => Fate::There,
                404 => Fate::Gone,
                _ => panic!("{reply}"),
            };
            assert!(*fate == found || *fate == Fate::Open, "{}@{digest} is {found:?}, was {fate:?}", self.repository);
            *fate = found;
            if found == Fate::There {
                assert_eq!(reply.body, image.manifest);
                for blob in image.blobs() {
                    let target = format!("/v2/{}/blobs/{}", self.repository, sha256(blob));
                    assert!(client.get(&target).await.expect(200).body == *blob, "{target}");
                }
            }
        }
        let reply = client.head(&format!("/v2/{}/manifests/tag", self.repository)).await;
        let found = (reply.status == 200).then(|| reply.header("docker-content-digest").unwrap().to_owned());
        assert!(self.tag.contains(&found), "{}:tag is {found:?}, may be {:?}", self.repository, self.tag);
        self.tag = [found].into();
    }
}
