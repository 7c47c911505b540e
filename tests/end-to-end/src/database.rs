//! A database of its own for each cluster, and a look into it past our own code.

use anyhow::Context;
use tokio_postgres::{Client, NoTls};

/// A fresh database.
pub struct Database {
    admin_url: String,
    name: String,
    /// Its URL.
    pub url: String,
}

/// Connects; the connection ends with the client.
pub async fn connect(url: &str) -> anyhow::Result<Client> {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.context("connecting to PostgreSQL")?;
    tokio::spawn(connection);
    Ok(client)
}

impl Database {
    /// Makes one beside the database that the URL names.
    pub async fn create(admin_url: &str) -> anyhow::Result<Self> {
        let name = format!("keyhelm_{}", uuid::Uuid::new_v4().simple());
        let admin = connect(admin_url).await?;
        admin.batch_execute(&format!("CREATE DATABASE {name}")).await?;
        let (base, query) = match admin_url.split_once('?') {
            Some((base, query)) => (base, format!("?{query}")),
            None => (admin_url, String::new()),
        };
        let (server, _) = base.rsplit_once('/').context("no database in the URL")?;
        let url = format!("{server}/{name}{query}");
        Ok(Self { admin_url: admin_url.to_owned(), name, url })
    }

    /// Drops it, whoever is connected.
    pub async fn drop(&self) -> anyhow::Result<()> {
        let admin = connect(&self.admin_url).await?;
        admin.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await?;
        Ok(())
    }

    /// Names of all tables of wrapped keys.
    pub async fn wrapped_tables(&self) -> anyhow::Result<Vec<String>> {
        let client = connect(&self.url).await?;
        let sql = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'wrapped\\_%'";
        let rows = client.query(sql, &[]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Changes the last byte of a key's blob in a table of wrapped keys, or changes it back.
    pub async fn flip_bit(&self, table: &str, key: &str) -> anyhow::Result<()> {
        let client = connect(&self.url).await?;
        let sql = format!(
            "UPDATE {table} SET blob = set_byte(blob, octet_length(blob) - 1,
             get_byte(blob, octet_length(blob) - 1) # 1) WHERE key = $1"
        );
        let key: uuid::Uuid = key.parse()?;
        let changed = client.execute(&sql, &[&key]).await?;
        anyhow::ensure!(changed == 1, "{changed} rows of {table} are key {key}'s");
        Ok(())
    }

    /// Every column of every row of every table, as bytes: for whoever looks for what must not be
    /// there.
    pub async fn everything(&self) -> anyhow::Result<Vec<u8>> {
        let client = connect(&self.url).await?;
        let sql = "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                   WHERE relkind = 'r' AND nspname = 'public'";
        let mut found = Vec::new();
        for table in client.query(sql, &[]).await? {
            let table: String = table.get(0);
            // The text form of a row shows bytes in hex.
            let rows = client.query(&format!("SELECT t::text FROM {table} t"), &[]).await?;
            for row in rows {
                found.extend_from_slice(row.get::<_, String>(0).as_bytes());
                found.push(b'\n');
            }
        }
        Ok(found)
    }
}
