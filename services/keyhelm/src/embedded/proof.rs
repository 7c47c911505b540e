//! Proving a rotation from outside: by what clients hold, and by the bytes in the database file,
//! read without the code that wrote them.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use kms_gateway::{Checked, ImportKey, Keys};
use protocol::session::SecretBytes;
use protocol::{KeyId, Pattern};
use rusqlite::{Connection, OpenFlags};

/// Data wrapped before a rotation.
struct WrappedData {
    key: KeyId,
    plaintext: Vec<u8>,
    aad: Vec<Vec<u8>>,
    ciphertext: Vec<u8>,
}

/// What a client keeps over a rotation, to compare with afterwards.
pub struct Witness {
    wrapped: Vec<WrappedData>,
    imported: Vec<(KeyId, Vec<u8>)>,
}

impl Witness {
    /// Imports standard keys of known bytes, and wraps known data under root keys.
    pub async fn take(keys: &Keys, root_keys: &[KeyId], imports: usize) -> anyhow::Result<Self> {
        let payload = |index: usize| {
            let text = format!("known bytes of imported key {index}");
            crypto::digest::sha256("keyhelm demo v1", &[text.as_bytes()]).0.to_vec()
        };
        let given: Vec<_> = (0..imports)
            .map(|index| ImportKey {
                id: None,
                name: format!("imported-{index:04}"),
                payload: SecretBytes::new(payload(index)),
                is_extractable: true,
            })
            .collect();
        let metas = keys.import(&given, "demo").await?;
        let imported = metas.iter().enumerate().map(|(at, meta)| (meta.key, payload(at))).collect();
        let mut wrapped = Vec::with_capacity(root_keys.len());
        for (index, key) in root_keys.iter().enumerate() {
            let plaintext = format!("data number {index}").into_bytes();
            let aad = vec![b"demo".to_vec(), index.to_string().into_bytes()];
            let ciphertext = keys.wrap(*key, Some(&plaintext), &aad).await?.ciphertext;
            wrapped.push(WrappedData { key: *key, plaintext, aad, ciphertext });
        }
        Ok(Self { wrapped, imported })
    }

    /// Ciphertexts that were made.
    pub fn wrapped_count(&self) -> usize {
        self.wrapped.len()
    }

    /// Keys that were imported.
    pub fn imported_count(&self) -> usize {
        self.imported.len()
    }

    /// Every ciphertext unwraps to its data, every imported key gives its bytes back.
    pub async fn compare(&self, keys: &Keys) -> anyhow::Result<()> {
        for data in &self.wrapped {
            let text = keys
                .unwrap(data.key, &data.ciphertext, &data.aad)
                .await
                .with_context(|| format!("data under key {} does not unwrap", data.key))?;
            ensure!(text.expose() == data.plaintext, "key {} unwraps other data", data.key);
        }
        for (key, bytes) in &self.imported {
            let payload = keys
                .payload(*key)
                .await
                .with_context(|| format!("imported key {key} does not open"))?;
            ensure!(payload.expose() == bytes, "imported key {key} gives other bytes");
        }
        Ok(())
    }
}

/// Every version opens in the units; else the first failures are named.
pub async fn all_open(keys: &Keys) -> anyhow::Result<Checked> {
    let checked = keys.check().await?;
    if let Some(first) = checked.failures.first() {
        let count = checked.failures.len();
        bail!(
            "{count} keys do not open, the first is {} ({}): {}",
            first.name,
            first.key,
            first.reason
        );
    }
    Ok(checked)
}

/// What lies in the database file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnDisk {
    /// Tables of wrapped keys.
    pub tables: usize,
    /// Rows in them.
    pub rows: u64,
    /// Rows that carry this pattern in their header.
    pub under: u64,
}

/// Counts the rows of all tables of wrapped keys, and those under a pattern.
pub fn on_disk(keystore: &Path, pattern: Pattern) -> anyhow::Result<OnDisk> {
    let connection = Connection::open_with_flags(keystore, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let sql = "SELECT name FROM sqlite_master
               WHERE type = 'table' AND name LIKE 'wrapped\\_%' ESCAPE '\\'";
    let mut names = connection.prepare(sql)?;
    let tables: Vec<String> = names.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut found = OnDisk { tables: tables.len(), rows: 0, under: 0 };
    for table in &tables {
        let mut blobs = connection.prepare(&format!("SELECT blob FROM {table}"))?;
        for blob in blobs.query_map([], |row| row.get::<_, Vec<u8>>(0))? {
            found.rows += 1;
            let blob = blob?;
            found.under += u64::from(blob.get(2..34) == Some(pattern.0.as_slice()));
        }
    }
    Ok(found)
}
