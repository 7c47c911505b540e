//! Killing a process during a rotation; the same command again is always right.

use std::time::Duration;

use end_to_end::cluster::{UNITS, text_of};
use end_to_end::{Flavour, database};

use crate::{started, words};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_killed_during_a_rotation_the_same_command_again_ends_it_well() {
    let Some(mut cluster) = started(Flavour::Release).await else { return };
    cluster.expect(0, &words("keys create --count 2000")).await.unwrap();
    let mut codes = Vec::new();
    let others = ["reencryptor", "coordinator", "gateway"];
    let everybody: Vec<_> = UNITS.iter().map(|(name, _)| *name).chain(others).collect();
    for (turn, name) in everybody.into_iter().enumerate() {
        let mut first = cluster.begin(&words("auto-mk-rotate --yes")).unwrap();
        // At another moment of the rotation each time.
        let pause = Duration::from_millis(40 + 25 * turn as u64);
        let early = tokio::time::timeout(pause, &mut first).await;
        let output = match early {
            Ok(output) => output.unwrap().unwrap(),
            Err(_) => {
                let process = cluster.process(name).unwrap();
                process.kill().await.unwrap();
                process.start().unwrap();
                first.await.unwrap().unwrap()
            }
        };
        codes.push((name, output.status.code()));
        let again = cluster.keyhelm(&words("auto-mk-rotate --yes")).await.unwrap();
        assert!(again.status.success(), "after {name}: {}\n{}", text_of(&output), text_of(&again));
        cluster.expect(0, &words("keys check")).await.unwrap();
    }
    println!("exit codes of the commands during which a process was killed: {codes:?}");
    cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_survives_that_broker_and_database_go_away_for_a_moment() {
    let Some(cluster) = started(Flavour::Release).await else { return };
    cluster.expect(0, &words("keys create --count 2000")).await.unwrap();
    for turn in 0..4u64 {
        let mut rotation = cluster.begin(&words("auto-mk-rotate --yes")).unwrap();
        let pause = Duration::from_millis(60 + 60 * turn);
        if tokio::time::timeout(pause, &mut rotation).await.is_err() {
            cluster.broker.cut();
            if turn % 2 == 1 {
                cluster.store.cut();
            }
            let output = rotation.await.unwrap().unwrap();
            println!("cut in turn {turn}: {}", output.status);
        }
        cluster.expect(0, &words("auto-mk-rotate --yes")).await.unwrap();
        cluster.expect(0, &words("keys check")).await.unwrap();
    }
    cluster.stop().await.unwrap();
}

/// A copy of the database that was made between the flip and its read-back is put in the place of the database
/// later: nobody asks for that read-back any more, and the next rotation needs it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flip_that_nobody_read_back_is_read_back_before_the_next_rotation() {
    let Some(cluster) = started(Flavour::Release).await else { return };
    cluster.expect(0, &words("keys create --count 200")).await.unwrap();
    cluster.expect(0, &words("auto-mk-rotate --yes")).await.unwrap();
    let client = database::connect(&cluster.database.url).await.unwrap();
    let sql = r#"UPDATE keystores SET row = replace(row, '"dropped"', '"switched"')"#;
    assert_eq!(client.execute(sql, &[]).await.unwrap(), 1);
    let row: String = client.query_one("SELECT row FROM keystores", &[]).await.unwrap().get(0);
    assert!(row.contains(r#""standing":"switched""#), "{row}");
    cluster.expect(0, &words("auto-mk-rotate --yes")).await.unwrap();
    cluster.expect(0, &words("keys check")).await.unwrap();
    cluster.stop().await.unwrap();
}
