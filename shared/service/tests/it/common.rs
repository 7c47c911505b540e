//! What every process opens alike: its folder, which tells its fingerprint, and whom it believes.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rand::rng;
use service::Common;

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn common(folder: &Path) -> Common {
    let path = |name: &str| folder.join(name).display().to_string();
    Common { data_dir: path("data"), ca_file: path("ca.pem"), ..Common::named("op-1") }
}

#[test]
fn a_process_tells_its_fingerprint_when_it_opens_its_folder() {
    let place = tempfile::tempdir().unwrap();
    let log = Written::default();
    let writer = log.clone();
    let told = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
    let open = || common(place.path()).folder(&mut rng()).unwrap();
    let folder = tracing::subscriber::with_default(told.finish(), open);
    let key = folder.identity(&mut rng()).unwrap().public_key();
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| line.contains("fingerprint=")).collect();
    let [line] = lines.as_slice() else { panic!("{text}") };
    assert!(line.contains(" INFO ") && line.contains("name=\"op-1\""), "{line}");
    assert!(
        line.contains(&format!("fingerprint={}", crypto::identity::fingerprint(&key))),
        "{line}"
    );
}

#[test]
fn an_authority_is_not_taken_together_with_a_broker_in_clear() {
    let place = tempfile::tempdir().unwrap();
    let url_file = place.path().join("amqp-url");
    let read = |url: &str, in_file: Option<&str>| {
        let mut common = common(place.path());
        common.amqp_url = url.into();
        if let Some(text) = in_file {
            std::fs::write(&url_file, text).unwrap();
            common.amqp_url_file = url_file.display().to_string();
        }
        format!("{:#}", common.authority().unwrap_err())
    };
    let (clear, sealed) = ("amqp://who:hunter2@broker:5672/v", "amqps://who:hunter2@broker/v");
    for (url, in_file) in [(clear, None), (sealed, Some(clear)), ("amqp", None), ("", None)] {
        let refused = read(url, in_file);
        assert!(refused.contains("ca_file is given, and the broker's URL is "), "{refused}");
        assert!(refused.contains("amqps://") && !refused.contains("hunter2"), "{refused}");
    }
    // These come as far as the file, which is not there.
    for (url, in_file) in [(sealed, None), (clear, Some(sealed)), ("AMQPS://broker", None)] {
        let refused = read(url, in_file);
        assert!(refused.starts_with("ca_file: ") && refused.contains("ca.pem"), "{refused}");
    }
    let without = Common { ca_file: String::new(), ..common(place.path()) };
    assert!(without.authority().unwrap().is_none(), "nobody asked for TLS");
}
