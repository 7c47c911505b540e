//! Many keys at once: sealed as the units would, under a master key that test builds of them have
//! drawn, and copied into the three tables that a gateway writes.

use anyhow::{Context, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use crypto::blob::{self, BlobBinding, KeyAttributes, WrapKeys};
use crypto::random::process_rng;
use end_to_end::cluster::INSTANCE;
use end_to_end::{Cluster, database, master_keys};
use futures_util::SinkExt;
use protocol::{InstanceId, KeyId, VersionId};
use rand::Rng;
use tokio_postgres::Client;

/// Keys in one transaction.
const BATCH: u64 = 100_000;
/// What begins every binary COPY: its signature, no flags, no more header.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// Fills an initialised keystore with so many keys of 32 bytes.
pub async fn fill(cluster: &Cluster, count: u64) -> anyhow::Result<()> {
    let list = cluster.get(&format!("/v1/instances/{INSTANCE}/rotations?limit=1")).await?;
    let pattern = list[0]["to"].as_str().context("no pattern")?.parse().context("a pattern")?;
    let keys = WrapKeys::derive(&master_keys::master_key_of(pattern)?);
    let table = cluster.database.wrapped_tables().await?.pop().context("no table")?;
    let client = database::connect(&cluster.database.url).await?;
    let mut from = 0;
    while from < count {
        let upto = count.min(from + BATCH);
        let made = Made::between(&keys, from, upto, count)?;
        client.batch_execute("BEGIN").await?;
        copy(
            &client,
            "keys (instance, key, name, attributes, state, created_at, created_by)",
            made.keys,
        )
        .await?;
        copy(&client, "key_versions (instance, version, key, created_at, born)", made.versions)
            .await?;
        copy(&client, &format!("{table} (version, key, attributes, born, blob)"), made.blobs)
            .await?;
        client.batch_execute("COMMIT").await?;
        from = upto;
    }
    client.batch_execute("VACUUM ANALYZE").await?;
    let found: i64 = client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await?.get(0);
    ensure!(found as u64 == count, "{found} keys instead of {count}");
    Ok(())
}

async fn copy(client: &Client, into: &str, rows: Bytes) -> anyhow::Result<()> {
    let sink = client.copy_in(&format!("COPY {into} FROM STDIN (FORMAT binary)")).await?;
    tokio::pin!(sink);
    sink.send(rows).await?;
    sink.finish().await?;
    Ok(())
}

/// Rows of the three tables, as binary COPY wants them.
struct Made {
    keys: Bytes,
    versions: Bytes,
    blobs: Bytes,
}

impl Made {
    /// Ids are random but for their beginning, which rises: as in a table that a rotation has made.
    fn between(wrap: &WrapKeys, from: u64, upto: u64, of: u64) -> anyhow::Result<Self> {
        let (mut rng, instance) = (process_rng(), InstanceId::named(INSTANCE));
        let mut tables = [HEADER, HEADER, HEADER].map(BytesMut::from);
        let attributes = KeyAttributes { is_root: true, is_extractable: false, is_imported: false };
        let attributes = attributes.to_byte();
        for index in from..upto {
            let mut id = || {
                let begin = (u128::from(index) << 64) / u128::from(of);
                let mut rest = [0; 16];
                rng.fill_bytes(&mut rest);
                let bytes = (begin << 64) | (u128::from_be_bytes(rest) >> 64);
                uuid::Builder::from_random_bytes(bytes.to_be_bytes()).into_uuid()
            };
            let (key, version) = (id(), id());
            let binding = BlobBinding {
                instance,
                key: KeyId::from_uuid(key),
                version: VersionId::from_uuid(version),
                attributes,
            };
            let mut secret = [0; 32];
            rng.fill_bytes(&mut secret);
            let blob = blob::seal_blob(wrap, &binding, &secret, &mut rng)?;
            let (instance, name) = (instance.bytes().as_slice(), format!("key-{index:08}"));
            let (key, version) = (key.into_bytes(), version.into_bytes());
            let (kind, zero) = (i16::from(attributes).to_be_bytes(), 0_i64.to_be_bytes());
            let (active, by) = (1_i16.to_be_bytes(), b"bench");
            row(&mut tables[0], &[instance, &key, name.as_bytes(), &kind, &active, &zero, by]);
            row(&mut tables[1], &[instance, &version, &key, &zero, &zero]);
            row(&mut tables[2], &[&version, &key, &kind, &zero, &blob]);
        }
        let [keys, versions, blobs] = tables.map(|mut table| {
            table.put_i16(-1);
            table.freeze()
        });
        Ok(Self { keys, versions, blobs })
    }
}

fn row(into: &mut BytesMut, fields: &[&[u8]]) {
    into.put_i16(fields.len() as i16);
    for field in fields {
        into.put_i32(field.len() as i32);
        into.put_slice(field);
    }
}
