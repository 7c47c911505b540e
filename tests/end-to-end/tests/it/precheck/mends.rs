//! What a message says mends it, carried out to the letter: commands as they stand, and the few
//! sentences where no command can.

use super::stage::Stage;
use crate::words;

/// What a person at the terminal would be asked, by the verb.
const ANSWERS: [(&str, &str); 5] = [
    ("auto-init", "--trust-first-use --passphrase-file passphrase"),
    ("auto-mk-rotate", "--yes --passphrase-file passphrase"),
    ("auto-mk-recover", "--yes --passphrase-file passphrase"),
    ("cryptounit-retire", "--yes --passphrase-file passphrase"),
    ("abort", "--yes"),
];

impl Stage {
    /// Carries a mend out. Whether it was the run itself, in the way it should have been asked for.
    pub async fn mended(&mut self, mend: &str) -> bool {
        if let Some(command) = mend.strip_prefix("keyhelm ") {
            let verb = command.split(' ').next().unwrap();
            let answers = ANSWERS.iter().find(|(known, _)| *known == verb);
            let answers = answers.unwrap_or_else(|| panic!("{mend}: what would be asked?")).1;
            let given = words(command);
            let lacking = words(answers).into_iter().filter(|word| !given.contains(word));
            let arguments: Vec<_> = given.iter().copied().chain(lacking).collect();
            self.cluster.expect(0, &arguments).await.unwrap();
            return verb == "auto-mk-rotate";
        }
        match words(mend).as_slice() {
            ["start", role, name] => {
                let process = self.cluster.process(name).unwrap();
                assert_eq!((process.program().as_str(), process.is_running()), (*role, false));
                process.start().unwrap();
            }
            ["set", "the", "clock", "of", name] => {
                let process = self.cluster.process(name).unwrap();
                process.unset("KEYHELM_TESTING_CLOCK_OFFSET_S");
                self.again(name).await;
            }
            ["upgrade", role, name] => {
                let process = self.cluster.process(name).unwrap();
                assert_eq!(process.program(), *role);
                process.unset("KEYHELM_TESTING_PROTOCOL_VERSION");
                self.again(name).await;
            }
            ["restore", "the", "data", "folder", "of", _, name] => {
                self.stop(name).await;
                let folder = self.cluster.folder.path().join(name);
                std::fs::remove_dir_all(&folder).unwrap();
                std::fs::rename(self.put_aside(name), &folder).unwrap();
                self.go(name);
            }
            _ => self.mended_in_the_stores(mend).await,
        }
        false
    }

    async fn mended_in_the_stores(&mut self, mend: &str) {
        match mend {
            "restore the coordinator's records, and restart it" => {
                self.stop("coordinator").await;
                let documents = std::mem::take(&mut self.kept.documents);
                self.put_documents(&documents).await;
                self.go("coordinator");
                self.coordinator_is_back().await;
            }
            "restore the keystore that belongs to these units" => {
                let row = self.kept.keystore.take().unwrap();
                self.put_keystore_row(&row).await;
            }
            "give the instance an empty keystore" => {
                let client = self.sql().await;
                client.batch_execute("DELETE FROM key_versions; DELETE FROM keys").await.unwrap();
            }
            _ => panic!("nobody can carry this out: {mend}"),
        }
    }
}
