//! Every process ended at each of its fail points: between save, publish, confirm and acknowledgement,
//! within the save of a file, on both sides of each COMMIT. After each the process is started again,
//! the same command is given again, and the key storage is looked at from outside.
//!
//! `KEYHELM_FAIL_POINTS=every` ends it at the first, second, third … pass of each point, until a run
//! of the command passes the point no more; else at the first.

mod witness;
mod work;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use end_to_end::process::PATIENCE;
use end_to_end::{Cluster, Flavour};
use fail_points::Point;

use self::witness::Witness;
use self::work::{Doing, Work};
use crate::{started, words};

/// Passes of a point that are tried at most.
const MAX_PASSES: u32 = 200;
/// How long after the work is over its last messages may still bring a process to a point.
const LINGER: Duration = Duration::from_millis(400);

/// Processes, what is done, and the points (by how their names begin) that are tried in it.
const PLAN: [(&str, Work, &[&str]); 12] = [
    ("op-1", Work::Rotate, &["driver", "broker", "file", "unit"]),
    ("rec-1", Work::Rotate, &["driver", "broker", "file"]),
    ("rec-2", Work::Rotate, &["file"]),
    ("coordinator", Work::Rotate, &["driver", "broker", "record.save"]),
    ("coordinator", Work::Start, &["record.lease", "record.renew"]),
    ("reencryptor", Work::Rotate, &REENCRYPTING),
    ("coordinator", Work::Abort, &["driver.saved", "record.save"]),
    ("reencryptor", Work::Abort, &["keystore.abort", "keystore.drop-table"]),
    ("gateway", Work::Keys, &["broker", "keystore.create", "keystore.delete", "keystore.purge"]),
    ("coordinator", Work::Request, &["driver", "record.save"]),
    ("coordinator", Work::Manifest, &["record.save"]),
    ("op-2", Work::Manifest, &["file"]),
];

/// What a reencryptor passes in a rotation. It saves nothing but in its transactions.
const REENCRYPTING: [&str; 10] = [
    "driver.handled",
    "driver.published",
    "driver.acked",
    "broker",
    "keystore.open",
    "keystore.chunks",
    "keystore.complete",
    "keystore.flip",
    "keystore.mark-flipped",
    "keystore.drop",
];

/// Names of the points that begin so.
fn points(prefixes: &[&str]) -> Vec<String> {
    let is_meant = |name: &String| {
        let name = name.trim_start_matches("fail-point.");
        prefixes.iter().any(|prefix| name.starts_with(prefix))
    };
    Point::all().map(Point::name).filter(is_meant).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_ends_at_whatever_point_the_same_command_again_ends_it_well() {
    let Some(mut cluster) = started(Flavour::Testing).await else { return };
    prepare(&mut cluster).await;
    let witness = Witness::take(&cluster).await;
    let is_every = std::env::var("KEYHELM_FAIL_POINTS").is_ok_and(|word| word == "every");
    let passes = if is_every { MAX_PASSES } else { 1 };
    let mut ended = BTreeSet::new();
    let mut crashes = 0;
    for (name, work, prefixes) in PLAN {
        for point in points(prefixes) {
            let mut pass = 1;
            let begun = Instant::now();
            let target = |pass| Target { name, work, point: &point, pass };
            while pass <= passes && target(pass).crashed(&mut cluster, &witness).await {
                ended.insert(point.clone());
                pass += 1;
            }
            crashes += pass - 1;
            let (times, took) = (pass - 1, begun.elapsed().as_secs_f32());
            println!("{name:<12} {work:<9?} {point:<42} {times:>3} times {took:6.1} s");
        }
    }
    let lacking: Vec<_> =
        points(&[""]).into_iter().filter(|point| !ended.contains(point)).collect();
    println!("{crashes} crashes at {} points", ended.len());
    assert!(lacking.is_empty(), "points at which nothing was ended: {lacking:?}");
    cluster.stop().await.unwrap();
}

/// Two administrators, purges without a wait, and processes that look for where to end.
async fn prepare(cluster: &mut Cluster) {
    cluster.expect(0, &words("sigkey-add bob --passphrase-file passphrase")).await.unwrap();
    let add = "cryptounit-admin-add 2 --keep-standing-order --yes --passphrase-file passphrase";
    cluster.expect(0, &words(add)).await.unwrap();
    cluster.process("gateway").unwrap().set("KEYHELM_PURGE_WAIT_S", "0");
    // Pages enough for every unit.
    cluster.process("reencryptor").unwrap().set("KEYHELM_ROWS_PER_PAGE", "4");
    for process in &mut cluster.processes {
        assert_eq!(process.terminate().await.unwrap(), 0, "{}", process.name());
        let file = format!("{}.crash", process.name());
        process.set("KEYHELM_TESTING_CRASH_FILE", file);
        process.start().unwrap();
    }
    witness::until_up(cluster).await;
    cluster.expect(0, &words("auto-mk-rotate --yes")).await.unwrap();
}

/// Who is ended where.
#[derive(Clone, Copy)]
struct Target<'a> {
    name: &'static str,
    work: Work,
    point: &'a str,
    pass: u32,
}

impl Target<'_> {
    fn file(&self, cluster: &Cluster) -> PathBuf {
        cluster.folder.path().join(format!("{}.crash", self.name))
    }

    /// Does the work with the process about to end. False if it never came to the point; else it was
    /// started again, the work given again, and everything looked at.
    async fn crashed(&self, cluster: &mut Cluster, witness: &Witness) -> bool {
        let file = self.file(cluster);
        let order = format!("{} {}", self.point, self.pass);
        let arm = || std::fs::write(&file, order).unwrap();
        let doing = self.work.start(cluster, witness, arm).await;
        let is_ended = self.ended(cluster, &doing, &file).await;
        if is_ended {
            // The command goes on meanwhile: it waits for whoever was ended.
            cluster.process(self.name).unwrap().start().unwrap();
        } else {
            let _ = std::fs::remove_file(&file);
        }
        let what = format!("{} at pass {} of {}", self.name, self.pass, self.point);
        doing.finish(cluster, &what).await;
        if is_ended {
            self.work.again(cluster, witness, &what).await;
            witness.looks(cluster, &what).await;
        }
        is_ended
    }

    /// Until the process has ended at its point, or the work is over and nothing more comes of it.
    async fn ended(&self, cluster: &mut Cluster, doing: &Doing, file: &Path) -> bool {
        let give_up = Instant::now() + 2 * PATIENCE;
        let mut over_since = None;
        loop {
            let process = cluster.process(self.name).unwrap();
            if !process.is_running() {
                let said = process.log();
                assert!(!file.exists(), "{} ended, and not at its point:\n{said}", self.name);
                return true;
            }
            if doing.is_over() && over_since.get_or_insert_with(Instant::now).elapsed() > LINGER {
                return false;
            }
            assert!(Instant::now() < give_up, "{}: neither its point nor an end", self.name);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
