//! How each condition is broken from outside: by signals, files, variables, rows and commands.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use end_to_end::process::PATIENCE;
use serde_json::Value;

use super::stage::Stage;
use super::state::{Amiss, make_amiss};
use crate::gate::{hold, until_phase};
use crate::words;

/// One condition, broken.
#[derive(Clone, Copy, Debug)]
pub enum Break {
    /// The process is stopped.
    Silent(&'static str),
    /// The unit is started with an empty folder.
    OtherFolder(&'static str),
    /// Its clock is wrong by so many seconds.
    Clock(&'static str, i64),
    /// It speaks an older protocol.
    OldProtocol(&'static str),
    /// Its state is gone, and it refuses the manifest.
    Imprint(&'static str),
    /// Its registers are not as they should be.
    Register(&'static str, Amiss),
    /// The coordinator's records are older than the newest manifest.
    OldRecords,
    /// The keystore is that of before the last rotation.
    OldKeystore,
    /// The keystore is a backup of mid-rotation, older than the last rotation.
    OldOpenKeystore,
    /// The keystore has stayed open in a rotation that every unit has aborted.
    LeftOpen,
    /// Everybody stopped in a rotation, and the coordinator's record of it is lost.
    Undriven(&'static str),
    /// A standing order whose interval has just begun.
    JustRotated,
    /// A standing order that has ended.
    StandingEnded,
    /// No standing order.
    NoStandingOrder,
    /// Nothing but the request is wrong.
    Nothing,
}

impl Stage {
    fn folder_of(&self, name: &str) -> PathBuf {
        self.cluster.folder.path().join(name)
    }

    /// Where a unit's own folder is put aside.
    pub fn put_aside(&self, name: &str) -> PathBuf {
        self.folder_of(&format!("{name}.aside"))
    }

    pub async fn stop(&mut self, name: &str) {
        assert_eq!(self.cluster.process(name).unwrap().terminate().await.unwrap(), 0, "{name}");
    }

    pub fn go(&mut self, name: &str) {
        self.cluster.process(name).unwrap().start().unwrap();
    }

    pub async fn again(&mut self, name: &str) {
        self.stop(name).await;
        self.go(name);
    }

    async fn restarted_with(&mut self, name: &str, variable: &str, value: &str) {
        self.cluster.process(name).unwrap().set(variable, value);
        self.again(name).await;
    }

    pub async fn broken(&mut self, how: Break) {
        match how {
            Break::Nothing => {}
            Break::Silent(name) => self.stop(name).await,
            Break::OtherFolder(name) => {
                self.stop(name).await;
                std::fs::rename(self.folder_of(name), self.put_aside(name)).unwrap();
                self.go(name);
            }
            Break::Clock(name, offset_s) => {
                let variable = "KEYHELM_TESTING_CLOCK_OFFSET_S";
                self.restarted_with(name, variable, &offset_s.to_string()).await;
            }
            Break::OldProtocol(name) => {
                self.restarted_with(name, "KEYHELM_TESTING_PROTOCOL_VERSION", "0").await;
            }
            Break::Imprint(name) => {
                self.stop(name).await;
                std::fs::remove_file(self.folder_of(name).join("unit.sealed")).unwrap();
                let nobody = "ab".repeat(32);
                let process = self.cluster.process(name).unwrap();
                process.set("KEYHELM_PINNED_ADMINISTRATORS", nobody);
                self.go(name);
            }
            Break::Register(name, amiss) => {
                self.stop(name).await;
                make_amiss(&self.folder_of(name), amiss);
                self.go(name);
            }
            Break::OldRecords => self.records_become_old().await,
            Break::OldKeystore => {
                let old = self.keystore_row().await;
                self.rotates().await;
                self.kept.keystore = Some(self.keystore_row().await);
                self.put_keystore_row(&old).await;
            }
            Break::OldOpenKeystore => {
                let open = self.kept.open_keystore.clone().unwrap();
                self.kept.keystore = Some(self.keystore_row().await);
                self.put_keystore_row(&open).await;
            }
            Break::LeftOpen => self.keystore_stays_open().await,
            Break::Undriven(phase) => self.rotation_is_undriven(phase).await,
            Break::JustRotated => {
                self.rotates().await;
                self.standing_order("1h").await;
            }
            Break::StandingEnded => self.standing_order_ends().await,
            Break::NoStandingOrder => {
                let line = "cryptounit-thrhld-set --signature-threshold 1 --passphrase-file \
                            passphrase";
                self.cluster.expect(0, &words(line)).await.unwrap();
            }
        }
    }

    pub async fn rotates(&self) {
        let line = "auto-mk-rotate --yes --passphrase-file passphrase";
        self.cluster.expect(0, &words(line)).await.unwrap();
    }

    async fn records_become_old(&mut self) {
        let old = self.documents().await;
        let line = "cryptounit-thrhld-set --revocation-threshold 1 --keep-standing-order \
                    --passphrase-file passphrase";
        self.cluster.expect(0, &words(line)).await.unwrap();
        // Everybody has taken it.
        self.settles_at("a new manifest", &Default::default()).await;
        self.stop("coordinator").await;
        self.kept.documents = self.documents().await;
        assert_ne!(self.kept.documents, old);
        self.put_documents(&old).await;
        self.go("coordinator");
        self.coordinator_is_back().await;
    }

    async fn standing_order_ends(&mut self) {
        let said = std::process::Command::new("date")
            .args(["-u", "-d", "+2 seconds", "+%Y-%m-%dT%H:%M:%SZ"])
            .output()
            .unwrap();
        let until = String::from_utf8(said.stdout).unwrap();
        let line = format!(
            "auto-init --standing-order 0s --passphrase-file passphrase --until {}",
            until.trim()
        );
        self.cluster.expect(0, &words(&line)).await.unwrap();
        let give_up = Instant::now() + PATIENCE;
        while self.post("rotations", r#"{"dry_run": true}"#).await.0 != 409 {
            assert!(Instant::now() < give_up, "the standing order does not end");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A rotation, held at a phase.
    async fn held_at(&mut self, phase: &str) -> String {
        hold(&self.cluster, Some(phase)).await;
        let (status, started) = self.post("rotations", "{}").await;
        assert_eq!(status, 201, "{started}");
        until_phase(&self.cluster, phase).await;
        started["rotation"]["rotation"].as_str().unwrap().to_owned()
    }

    /// A rotation whose generation is open and has no page done: no operational unit takes any.
    async fn opened(&mut self) -> String {
        let rotation = self.held_at("reencrypt").await;
        for (name, role) in self.members().await {
            if role == "operational-unit" {
                self.stop(&name).await;
            }
        }
        hold(&self.cluster, None).await;
        let until = Instant::now() + PATIENCE;
        loop {
            let text = self.keystore_row().await;
            let row: Value = serde_json::from_str(&text).unwrap();
            if !row["open"].is_null() {
                self.kept.open_keystore = Some(text);
                return rotation;
            }
            assert!(Instant::now() < until, "the generation is not opened: {row}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn keystore_stays_open(&mut self) {
        let rotation = self.opened().await;
        let open = self.kept.open_keystore.clone().unwrap();
        let abort = format!("abort {rotation} --yes");
        let ended = self.cluster.begin(&words(&abort)).unwrap();
        for (name, role) in self.members().await {
            if role == "operational-unit" {
                self.go(&name);
            }
        }
        assert!(ended.await.unwrap().unwrap().status.success());
        self.put_keystore_row(&open).await;
    }

    /// The record is lost while everybody is stopped: a coordinator that starts first finds nobody
    /// who knows of the rotation.
    async fn rotation_is_undriven(&mut self, phase: &str) {
        if phase == "reencrypt" {
            self.opened().await;
        } else {
            self.held_at(phase).await;
        }
        let everybody: Vec<_> = self.members().await.into_iter().map(|(name, _)| name).collect();
        self.stop("coordinator").await;
        let everybody = [everybody, vec!["reencryptor".to_owned()]].concat();
        for name in &everybody {
            if self.cluster.process(name).unwrap().is_running() {
                self.stop(name).await;
            }
        }
        let sql = "DELETE FROM coordinator_rotations WHERE finished_at IS NULL";
        assert_eq!(self.sql().await.execute(sql, &[]).await.unwrap(), 1);
        self.go("coordinator");
        self.coordinator_is_back().await;
        // Answered after the survey with which a coordinator begins.
        assert!(self.compared().await.iter().all(|(code, ..)| code.ends_with("silent")));
        for name in &everybody {
            self.go(name);
        }
    }
}
