//! Goal: the gateway's user of the database can do what the gateway does, and nothing to the keystore's
//! row or to what others write. Method: what `keyhelm setup` writes for the server is run there under
//! names of its own, the tables are made by the reencryptor's own code, and each right is tried.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use keystore::{Keystore, KeystoreError};
use machines::gate::{GateRefusal, OpenRequest};
use protocol::keystore::GateMode;
use protocol::order::OrderRef;
use protocol::{
    Digest, Epoch, GenerationId, InstanceId, KeystoreId, OrderNumber, Pattern, RotationId,
};

use crate::binary::{Home, ran, text};

/// A server's superuser, and what `setup` has written for it, renamed.
struct Server {
    home: Home,
    url: String,
    suffix: String,
}

impl Server {
    /// None where there is no server, which is said.
    fn with_users() -> Option<Self> {
        let Ok(url) = std::env::var("KEYHELM_TEST_POSTGRES_URL") else {
            let required = std::env::var("KEYHELM_REQUIRE").unwrap_or_default();
            assert!(!required.contains("postgres"), "KEYHELM_TEST_POSTGRES_URL is required");
            println!("NOT RUN: PostgreSQL (KEYHELM_TEST_POSTGRES_URL unset)");
            return None;
        };
        if Command::new(psql()).arg("--version").output().is_err() {
            println!("NOT RUN: rights at the database (no psql)");
            return None;
        }
        let home = Home::new();
        let owner = std::fs::metadata(home.path("")).unwrap().uid().to_string();
        let folder = home.path("cluster");
        let args = ["setup", text(&folder), "--owner", &owner, "--server-owner", &owner];
        let made = home.run(&args);
        assert_eq!(made.code, 0, "{made:?}");
        let suffix = format!("_{}", std::process::id());
        let server = Self { home, url, suffix };
        let written = std::fs::read_to_string(folder.join("secrets/postgres/init.sql")).unwrap();
        let file = server.home.write("init.sql", &server.renamed(&written));
        let done = server.psql(&server.url, &["-v", "ON_ERROR_STOP=1", "-f", text(&file)]);
        assert!(done.is_ok(), "{done:?}");
        Some(server)
    }

    /// Users and databases belong to the whole server.
    fn renamed(&self, sql: &str) -> String {
        let suffix = &self.suffix;
        let mut sql = sql.replace("OWNER coordinator;", &format!("OWNER \"coordinator{suffix}\";"));
        for name in ["keyhelm_keys", "keyhelm_gateways", "keyhelm_records"] {
            sql = sql.replace(name, &format!("{name}{suffix}"));
        }
        for name in ["coordinator", "gateway", "reencryptor"] {
            sql = sql.replace(&format!("\"{name}\""), &format!("\"{name}{suffix}\""));
        }
        sql
    }

    /// The URL of a process's own database, at this server.
    fn url_of(&self, process: &str) -> String {
        let path = self.home.path(&format!("cluster/secrets/{process}/database-url"));
        let written = std::fs::read_to_string(path).unwrap();
        let password = written.split([':', '@']).nth(2).unwrap();
        let host = self.url.split('@').nth(1).unwrap().split('/').next().unwrap();
        let suffix = &self.suffix;
        format!("postgres://{process}{suffix}:{password}@{host}/keyhelm_keys{suffix}")
    }

    /// The last line of what the server says.
    fn psql(&self, url: &str, args: &[&str]) -> Result<String, String> {
        let output = Command::new(psql()).arg(url).arg("-tAq").args(args).output().unwrap();
        let done = ran(output);
        if done.code == 0 { Ok(done.out.trim().to_owned()) } else { Err(done.err) }
    }

    fn forget(self) {
        let suffix = &self.suffix;
        for what in [
            format!("DROP DATABASE keyhelm_keys{suffix} WITH (FORCE)"),
            format!("DROP DATABASE keyhelm_records{suffix}"),
            format!("DROP ROLE \"coordinator{suffix}\", \"gateway{suffix}\""),
            format!("DROP ROLE \"reencryptor{suffix}\", keyhelm_keys{suffix}"),
            format!("DROP ROLE keyhelm_gateways{suffix}"),
        ] {
            let done = self.psql(&self.url, &["-c", &what]);
            assert!(done.is_ok(), "{what}: {done:?}");
        }
    }
}

fn psql() -> PathBuf {
    let folder = std::env::var("KEYHELM_TEST_POSTGRES_BIN").unwrap_or_default();
    PathBuf::from(folder).join("psql")
}

const INSTANCE: InstanceId = InstanceId::from_bytes([1; 16]);
const KEY: &str = "'01010101-0101-0101-0101-010101010101', \
                   '02020202-0202-0202-0202-020202020202'";
const TABLE: &str = "wrapped_01010101010101010101010101010101_1";

/// The first generation is open, so that its table is there; none is active.
async fn opened(store: &Keystore) {
    store.ensure(INSTANCE, KeystoreId::from_bytes([7; 16])).await.unwrap();
    let number = OrderNumber { manifest_serial: 1, number: 1 };
    let request = OpenRequest {
        order: OrderRef {
            rotation: RotationId::from_bytes([3; 16]),
            number,
            digest: Digest([4; 32]),
        },
        epoch: Epoch { manifest_serial: 1, number: 1 },
        from: None,
        to: Pattern([5; 32]),
        generation: GenerationId::from_bytes([6; 16]),
        mode: GateMode::Strict,
    };
    store.open_generation(INSTANCE, request).await.unwrap();
}

#[tokio::test]
async fn a_gateway_writes_keys_and_changes_no_row_of_a_keystore() {
    let Some(server) = Server::with_users() else { return };
    let (gateway, reencryptor) = (server.url_of("gateway"), server.url_of("reencryptor"));
    let early = Keystore::open(&gateway, None).await.map(|_| ());
    assert!(early.unwrap_err().to_string().contains("permission denied"), "it waits for tables");
    let store = Keystore::open(&reencryptor, None).await.unwrap();
    opened(&store).await;

    let own = Keystore::open(&gateway, None).await.unwrap();
    assert_eq!(own.row(INSTANCE).await.unwrap(), store.row(INSTANCE).await.unwrap());
    let refused = own.create(INSTANCE, Vec::new()).await;
    let is_early = matches!(refused, Err(KeystoreError::Gate(GateRefusal::NotInitialised)));
    assert!(is_early, "it has held the row, and read it: {refused:?}");

    let blob = "decode('0101' || repeat('05', 32), 'hex')";
    for allowed in [
        "SELECT row FROM keystores FOR SHARE".to_owned(),
        format!("INSERT INTO keys VALUES ({KEY}, 'name', 0, 1, 0, 'me', NULL)"),
        "UPDATE keys SET state = 5, deleted_at = 1".to_owned(),
        format!("INSERT INTO key_versions VALUES ({KEY}, {}, 0, 0)", &KEY[40..]),
        format!("INSERT INTO {TABLE} VALUES ({KEY}, 0, 0, {blob})"),
        format!("INSERT INTO tombstones VALUES ({KEY})"),
        format!(
            "DELETE FROM {TABLE} w USING tombstones s, key_versions v WHERE w.version = v.version"
        ),
        "DELETE FROM quarantined".to_owned(),
        "DELETE FROM key_versions".to_owned(),
        "DELETE FROM keys".to_owned(),
        "DELETE FROM tombstones".to_owned(),
    ] {
        let done = server.psql(&gateway, &["-c", &allowed]);
        assert!(done.is_ok(), "{allowed}: {done:?}");
    }
    for refused in [
        "UPDATE keystores SET row = '{}'",
        "UPDATE keystores SET instance = instance",
        "DELETE FROM keystores",
        "INSERT INTO keystores (instance, row) VALUES (gen_random_uuid(), '{}')",
        "UPDATE keys SET name = 'another'",
        &format!("UPDATE {TABLE} SET blob = blob"),
        &format!("DROP TABLE {TABLE}"),
        "DELETE FROM chunks",
        "UPDATE chunks SET done = 0",
        "UPDATE quarantined SET reason = 'none'",
        "INSERT INTO tables_to_drop VALUES (gen_random_uuid(), 1)",
        "UPDATE keystore_schema SET version = 99",
        "CREATE TABLE mine (number INT)",
        &format!("SET ROLE keyhelm_keys{}", server.suffix),
    ] {
        let done = server.psql(&gateway, &["-c", refused]).unwrap_err();
        assert!(done.contains("permission denied") || done.contains("must be owner"), "{done}");
    }
    drop((store, own));
    server.forget();
}
