//! A keystore with an instance of its own, a look behind it by plain SQL, and what a rotation does.

use std::time::{Duration, Instant};

use keystore::{
    Cut, KeyMeta, KeyState, Keystore, KeystoreError, ListQuery, NewBlob, NewChunk, NewKey, Scanned,
    WrittenChunk,
};
use machines::gate::{AbortRequest, OpenRequest};
use protocol::keystore::{GateMode, Generation, KeystoreRow};
use protocol::order::OrderRef;
use protocol::page::{ChunkRange, WrappedRow};
use protocol::{
    Digest, Epoch, GenerationId, InstanceId, KeyId, KeystoreId, OrderNumber, Pattern, RotationId,
    UnixMillis, VersionId,
};
use tempfile::TempDir;
use tokio_postgres::NoTls;
use uuid::Uuid;

/// Merkle root of the keys that were read back, as the reencryptor gives it.
pub const ROOT: Digest = Digest([9; 32]);
/// How long something has that must happen.
pub const SOON: Duration = Duration::from_secs(10);

/// The test database; None, said aloud, where there is none and none is required.
pub fn postgres_url() -> Option<String> {
    if let Ok(url) = std::env::var("KEYHELM_TEST_POSTGRES_URL") {
        return Some(url);
    }
    let required = std::env::var("KEYHELM_REQUIRE").unwrap_or_default();
    assert!(!required.contains("postgres"), "KEYHELM_TEST_POSTGRES_URL is required");
    println!("NOT RUN: PostgreSQL (KEYHELM_TEST_POSTGRES_URL unset)");
    None
}

/// A connection beside the keystore's own.
pub async fn raw(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Asks until it is so.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub struct Fixture {
    pub store: Keystore,
    pub instance: InstanceId,
    pub url: String,
    _folder: Option<TempDir>,
}

/// Rows of a page.
const ROWS_PER_PAGE: u32 = 3;

/// A chunk whose rows a test can take out, change and put in.
#[derive(Clone)]
pub struct Page {
    pub range: ChunkRange,
    pub written: WrittenChunk,
    pub rows: Vec<WrappedRow>,
    pub quarantined: Vec<(WrappedRow, String)>,
}

impl Page {
    pub fn into_chunk(self) -> NewChunk {
        let Self { range, written, rows, quarantined } = self;
        NewChunk { range, written, rows: rows.into(), quarantined }
    }
}

impl Fixture {
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("keystore.db").display());
        Self::with(url, Some(folder)).await
    }

    pub async fn postgres() -> Option<Self> {
        Some(Self::with(postgres_url()?, None).await)
    }

    /// An instance of its own in this database.
    pub async fn with_url(url: &str) -> Self {
        Self::with(url.to_owned(), None).await
    }

    async fn with(url: String, folder: Option<TempDir>) -> Self {
        let store = Keystore::open(&url, None).await.unwrap();
        let instance = InstanceId::from_uuid(Uuid::new_v4());
        store.ensure(instance, KeystoreId::from_uuid(Uuid::new_v4())).await.unwrap();
        Self { store, instance, url, _folder: folder }
    }

    /// As after a crash: what was open is gone, what was saved is there.
    pub async fn reopen(&mut self) {
        self.store = Keystore::open(&self.url, None).await.unwrap();
    }

    pub async fn row(&self) -> KeystoreRow {
        self.store.row(self.instance).await.unwrap().unwrap()
    }

    // ---- behind the keystore

    fn is_postgres(&self) -> bool {
        matches!(self.store, Keystore::Postgres(_))
    }

    /// An id as a literal in SQL.
    pub fn literal(&self, id: Uuid) -> String {
        match self.is_postgres() {
            true => format!("'{id}'"),
            false => format!("x'{}'", id.simple()),
        }
    }

    pub fn me(&self) -> String {
        self.literal(self.instance.uuid())
    }

    pub fn table(&self, number: u32) -> String {
        format!("wrapped_{}_{number}", self.instance.uuid().simple())
    }

    /// Runs a statement beside the keystore; how many rows it changed.
    pub async fn execute(&self, sql: &str) -> u64 {
        match self.url.strip_prefix("sqlite:") {
            Some(path) => {
                rusqlite::Connection::open(path).unwrap().execute(sql, []).unwrap() as u64
            }
            None => raw(&self.url).await.execute(sql, &[]).await.unwrap(),
        }
    }

    /// Asks for one number beside the keystore.
    pub async fn number(&self, sql: &str) -> i64 {
        match self.url.strip_prefix("sqlite:") {
            Some(path) => {
                let connection = rusqlite::Connection::open(path).unwrap();
                connection.query_row(sql, [], |row| row.get(0)).unwrap()
            }
            None => raw(&self.url).await.query_one(sql, &[]).await.unwrap().get(0),
        }
    }

    pub async fn has_table(&self, number: u32) -> bool {
        let name = self.table(number);
        let sql = match self.is_postgres() {
            true => format!("SELECT count(*) FROM pg_tables WHERE tablename = '{name}'"),
            false => format!("SELECT count(*) FROM sqlite_schema WHERE name = '{name}'"),
        };
        self.number(&sql).await == 1
    }

    /// How many blobs a key has in a generation's table.
    pub async fn blobs_in(&self, number: u32, key: KeyId) -> i64 {
        let (table, key) = (self.table(number), self.literal(key.uuid()));
        self.number(&format!("SELECT count(*) FROM {table} WHERE key = {key}")).await
    }

    // ---- keys

    /// A key with a blob for each of these generations.
    pub fn new_key(&self, name: &str, generations: &[Generation]) -> NewKey {
        let meta = KeyMeta {
            key: KeyId::from_uuid(Uuid::new_v4()),
            version: VersionId::from_uuid(Uuid::new_v4()),
            name: name.to_owned(),
            attributes: 5,
            state: KeyState::Active,
            created_at: UnixMillis(1_700_000_000_000),
            created_by: "tester".to_owned(),
            deleted_at: None,
        };
        let blobs = generations
            .iter()
            .map(|generation| NewBlob {
                generation: generation.id,
                blob: blob(generation.pattern, meta.version),
            })
            .collect();
        NewKey { meta, blobs }
    }

    /// The generations that a write must supply now.
    pub async fn targets(&self) -> Vec<Generation> {
        let row = self.row().await;
        row.active.into_iter().chain(row.open).collect()
    }

    pub async fn create(&self, name: &str) -> Result<KeyMeta, KeystoreError> {
        let key = self.new_key(name, &self.targets().await);
        let meta = key.meta.clone();
        self.store.create(self.instance, vec![key]).await.map(|()| meta)
    }

    pub async fn create_many(&self, count: usize) -> Vec<KeyMeta> {
        let targets = self.targets().await;
        let keys: Vec<_> =
            (0..count).map(|n| self.new_key(&format!("key {n}"), &targets)).collect();
        let metas = keys.iter().map(|key| key.meta.clone()).collect();
        self.store.create(self.instance, keys).await.unwrap();
        metas
    }

    pub async fn names(&self) -> Vec<String> {
        let query = ListQuery { limit: 1000, offset: 0, states: Vec::new(), search: None };
        let total = self.store.count(self.instance, query.clone()).await.unwrap();
        let keys = self.store.list(self.instance, query).await.unwrap();
        assert_eq!(keys.len() as u64, total);
        keys.into_iter().map(|key| key.name).collect()
    }

    /// Every version has a blob in the active generation, under its pattern.
    pub async fn assert_all_open(&self, count: usize) {
        let pattern = self.row().await.active.unwrap().pattern;
        let nil = ChunkRange::WHOLE.after;
        let rows = self.store.scan(self.instance, Scanned::All, nil, 100_000).await.unwrap();
        assert_eq!(rows.len(), count);
        for row in rows {
            assert_eq!(row.blob, Some(blob(pattern, row.version)), "{}", row.name);
        }
    }

    // ---- rotations

    pub async fn open(&self, rotation: &Rotation) -> Result<KeystoreRow, KeystoreError> {
        self.store.open_generation(self.instance, rotation.request()).await
    }

    pub async fn abort(&self, rotation: &Rotation) -> Result<KeystoreRow, KeystoreError> {
        let request = AbortRequest {
            order: rotation.order,
            epoch: rotation.epoch,
            from_to: (rotation.from, rotation.to),
            is_taken: true,
        };
        self.store.abort(self.instance, request).await
    }

    pub async fn complete(&self, rotation: &Rotation) -> Result<KeystoreRow, KeystoreError> {
        let open = self.row().await.open;
        let filled = open.map_or(GenerationId::from_bytes([0; 16]), |open| open.id);
        self.store.complete(self.instance, rotation.order, filled).await
    }

    pub async fn flip(&self, rotation: &Rotation) -> Result<KeystoreRow, KeystoreError> {
        self.store.flip(self.instance, rotation.order, rotation.epoch).await
    }

    /// What was read back had this root.
    pub async fn mark_flipped(&self, rotation: &Rotation) -> Result<KeystoreRow, KeystoreError> {
        self.store.mark_flipped(self.instance, rotation.order, ROOT).await
    }

    pub async fn drop_retired(&self, rotation: &Rotation) -> Result<KeystoreRow, KeystoreError> {
        self.store.drop_retired(self.instance, rotation.order, rotation.epoch).await
    }

    /// The chunks that are not written, as a unit re-wraps them.
    pub async fn pages(&self) -> Vec<Page> {
        let row = self.row().await;
        let open = row.open.unwrap();
        let mut pages = Vec::new();
        for chunk in self.store.chunks(self.instance, open.number).await.unwrap() {
            if chunk.done.is_some() {
                continue;
            }
            let Some(active) = &row.active else {
                let (range, rows) = (chunk.range, Vec::new());
                pages.push(Page { range, written: written(0), rows, quarantined: Vec::new() });
                continue;
            };
            let cut = Cut::Every(ROWS_PER_PAGE);
            let ranges = vec![chunk.range];
            let mut read = self.store.pages(self.instance, active.number, ranges, open.number, cut);
            while let Some(page) = read.recv().await {
                let (range, rows) = page.unwrap();
                let mut rows = rows.to_vec();
                for row in &mut rows {
                    row.blob = blob(open.pattern, row.version);
                }
                let (written, quarantined) = (written(rows.len()), Vec::new());
                pages.push(Page { range, written, rows, quarantined });
            }
        }
        pages
    }

    /// Into the generation of this number, whether it is open or not.
    pub async fn write(&self, number: u32, pages: Vec<Page>) -> Result<(), KeystoreError> {
        let row = self.row().await;
        let known: Vec<_> = [row.open, row.active].into_iter().flatten().collect();
        let other =
            Generation { number, id: GenerationId::from_bytes([0xee; 16]), ..known[0].clone() };
        let named = known.iter().find(|generation| generation.number == number);
        self.write_into(named.unwrap_or(&other), pages).await
    }

    pub async fn write_into(
        &self,
        generation: &Generation,
        pages: Vec<Page>,
    ) -> Result<(), KeystoreError> {
        let chunks = pages.into_iter().map(Page::into_chunk).collect();
        self.store.write_chunks(self.instance, generation, chunks).await
    }

    /// The rows of a range.
    pub async fn rows(&self, number: u32, range: ChunkRange, not_born: u32) -> Vec<WrappedRow> {
        self.read(number, range, not_born).await.unwrap()
    }

    /// The same, or why there are none.
    pub async fn read(
        &self,
        number: u32,
        range: ChunkRange,
        not_born: u32,
    ) -> Result<Vec<WrappedRow>, KeystoreError> {
        let ranges = vec![range];
        let mut pages = self.store.pages(self.instance, number, ranges, not_born, Cut::Never);
        pages.recv().await.expect("a page").map(|(_, rows)| rows.to_vec())
    }

    /// Writes every chunk of the generation that is open.
    pub async fn fill(&self) {
        let number = self.row().await.open.unwrap().number;
        let pages = self.pages().await;
        self.write(number, pages).await.unwrap();
    }

    /// Up to a new generation that is complete.
    pub async fn build(&self, rotation: &Rotation) {
        self.open(rotation).await.unwrap();
        self.fill().await;
        self.complete(rotation).await.unwrap();
    }

    /// A whole rotation.
    pub async fn rotate(&self, rotation: &Rotation) {
        self.build(rotation).await;
        self.flip(rotation).await.unwrap();
        self.mark_flipped(rotation).await.unwrap();
        self.drop_retired(rotation).await.unwrap();
    }

    /// Initialised, by rotation 1.
    pub async fn initialised(self) -> Self {
        self.rotate(&rotation(1)).await;
        self
    }
}

/// What one rotation names.
#[derive(Clone, Copy)]
pub struct Rotation {
    pub order: OrderRef,
    pub epoch: Epoch,
    pub from: Option<Pattern>,
    pub to: Pattern,
    pub mode: GateMode,
    pub generation: GenerationId,
}

/// Rotation n goes from pattern n - 1 to pattern n; the first is the initialisation. Strict.
pub fn rotation(n: u8) -> Rotation {
    let order = OrderRef {
        rotation: RotationId::from_bytes([n; 16]),
        number: OrderNumber { manifest_serial: 1, number: u64::from(n) },
        digest: Digest([n; 32]),
    };
    Rotation {
        order,
        epoch: epoch(u64::from(n) * 10),
        from: (n > 1).then(|| Pattern([n - 1; 32])),
        to: Pattern([n; 32]),
        mode: GateMode::Strict,
        generation: GenerationId::from_uuid(Uuid::new_v4()),
    }
}

impl Rotation {
    pub fn online(self) -> Self {
        Self { mode: GateMode::Online, ..self }
    }

    /// From pattern n: the rotations since were given up.
    pub fn from(self, n: u8) -> Self {
        Self { from: Some(Pattern([n; 32])), ..self }
    }

    pub fn at(self, number: u64) -> Self {
        Self { epoch: epoch(number), ..self }
    }

    pub fn request(&self) -> OpenRequest {
        OpenRequest {
            order: self.order,
            epoch: self.epoch,
            from: self.from,
            to: self.to,
            generation: self.generation,
            mode: self.mode,
        }
    }
}

pub fn epoch(number: u64) -> Epoch {
    Epoch { manifest_serial: 1, number }
}

/// What a unit would make of a version under a pattern: a true header, and a body that depends on
/// both, as long as a wrapped 32-byte key.
pub fn blob(pattern: Pattern, version: VersionId) -> Vec<u8> {
    let mut blob = vec![1, 1];
    blob.extend(pattern.0);
    blob.extend(version.bytes());
    blob.extend([pattern.0[0]; 56]);
    blob
}

pub fn written(count: usize) -> WrittenChunk {
    let (count, new_digest) = (count as u64, Digest([9; 32]));
    WrittenChunk { count, quarantined_count: 0, new_digest, receipt: vec![7; 100] }
}
