//! Settings from file and environment, waiting, opening, and serving HTTP.

#![allow(clippy::unwrap_used)]

mod common;
mod http;

use serde::{Deserialize, Serialize};
use service::settings::{self, All, Entry, Settings, SettingsError};
use service::{Common, SecretText, Shutdown, Status};

#[derive(Debug, Serialize, Deserialize)]
#[serde(default)]
struct Example {
    #[serde(flatten, skip_deserializing)]
    common: Common,
    pages: u32,
    is_strict: bool,
    hosts: Vec<String>,
    url: SecretText,
}

impl Default for Example {
    fn default() -> Self {
        Self {
            common: Common { data_dir: "here".to_owned(), ..Common::named("one") },
            pages: 8,
            is_strict: false,
            hosts: Vec::new(),
            url: "amqp://127.0.0.1".into(),
        }
    }
}

impl Settings for Example {
    const PROCESS: &'static str = "example";
    const ENTRIES: &'static [&'static [Entry]] = &[
        Common::ENTRIES,
        &[
            Entry { key: "pages", text: "Pages at once." },
            Entry { key: "is_strict", text: "Strict or not." },
            Entry { key: "hosts", text: "Hosts." },
            Entry { key: "url", text: "Where." },
        ],
    ];
    const LISTS: &'static [&'static str] = &["hosts"];

    fn common(&self) -> &Common {
        &self.common
    }

    fn take_groups(&mut self, all: &All) -> Result<(), SettingsError> {
        self.common = all.group()?;
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        match self.pages {
            0 => Err("pages must be at least 1".to_owned()),
            _ => Ok(()),
        }
    }
}

fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    std::fs::write(&file, "name = \"two\"\npages = 4\n").unwrap();
    let given = environment(&[
        ("KEYHELM_PAGES", "2"),
        ("KEYHELM_IS_STRICT", "true"),
        ("KEYHELM_HOSTS", "a,b"),
        ("KEYHELM_ELSE", "none of its business"),
    ]);
    let read: Example = settings::load(Some(&file), given).unwrap();
    assert_eq!((read.common.name.as_str(), read.pages, read.is_strict), ("two", 2, true));
    assert_eq!(read.hosts, ["a", "b"]);
    assert_eq!(read.url.expose(), "amqp://127.0.0.1");
}

#[test]
fn what_is_not_understood_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    std::fs::write(&file, "pagse = 4\n").unwrap();
    let refused = settings::load::<Example>(Some(&file), []).unwrap_err().to_string();
    assert!(refused.contains("pagse"), "{refused}");
    let bad = environment(&[("KEYHELM_PAGES", "many")]);
    let refused = settings::load::<Example>(None, bad).unwrap_err().to_string();
    assert!(refused.contains("pages"), "{refused}");
    let none = environment(&[("KEYHELM_PAGES", "0")]);
    let refused = settings::load::<Example>(None, none).unwrap_err().to_string();
    assert!(refused.contains("pages"), "{refused}");
    let absent = folder.path().join("absent.toml");
    let refused = settings::load::<Example>(Some(&absent), []).unwrap_err().to_string();
    assert!(refused.contains("absent.toml"), "{refused}");
}

#[test]
fn what_every_process_needs_is_checked_too() {
    let bad = |name, value| {
        let given = environment(&[(name, value)]);
        settings::load::<Example>(None, given).unwrap_err().to_string()
    };
    for (name, value, said) in [
        ("KEYHELM_NAME", "", "name must be given (or KEYHELM_NAME)"),
        ("KEYHELM_DATA_DIR", "", "data_dir must be given"),
        ("KEYHELM_LOG_FORMAT", "xml", "log_format"),
        ("KEYHELM_OTLP_ENDPOINT", "https://elsewhere:4317", "otlp_endpoint"),
    ] {
        let refused = bad(name, value);
        assert!(refused.contains(said), "{name}={value}: {refused}");
    }
}

#[tokio::test]
async fn health_says_whether_a_process_lives_and_whether_it_is_ready() {
    let listener = service::http::listen("127.0.0.1:0").await.unwrap();
    let address = service::http::address(&listener).unwrap().to_string();
    let (status, shutdown) = (Status::default(), Shutdown::new());
    let serving = service::observe::serve(listener, status.clone(), shutdown.clone());
    let serving = tokio::spawn(serving);
    let ask = |is_ready| {
        let address = address.clone();
        async move {
            let asked = tokio::task::spawn_blocking(move || {
                format!("{:?}", service::observe::ask(&address, is_ready))
            });
            asked.await.unwrap()
        }
    };
    let is_success = |code: &str| code == format!("{:?}", std::process::ExitCode::SUCCESS);
    assert!(is_success(&ask(false).await));
    assert!(!is_success(&ask(true).await), "it has only just started");
    status.ready_with(0);
    assert!(!is_success(&ask(true).await), "it has no manifest");
    status.ready_with(3);
    assert!(is_success(&ask(true).await));
    shutdown.trigger();
    serving.await.unwrap().unwrap();
    assert!(!is_success(&ask(false).await), "it has stopped");
}

#[test]
fn a_password_in_a_url_is_never_shown() {
    let url: SecretText = "postgres://who:hunter2@db:5432/keys".into();
    let example = Example { url, ..Example::default() };
    assert!(!format!("{example:?}").contains("hunter2"));
    let json = serde_json::to_string(&example).unwrap();
    assert!(json.contains("postgres://db:5432/keys") && !json.contains("hunter2"));
    assert!(example.url.expose().contains("hunter2"));
}

#[test]
fn the_document_has_every_field_and_its_default() {
    let fields = serde_json::to_value(Example::default()).unwrap();
    let document = settings::document::<Example>();
    for key in fields.as_object().unwrap().keys() {
        assert!(document.contains(&format!("| `{key}` | `{}` |", settings::variable(key))));
    }
    assert!(document.contains("| `8` | Pages at once."));
}

#[tokio::test]
async fn what_is_away_is_waited_for_until_it_comes_or_the_process_stops() {
    let shutdown = Shutdown::new();
    let mut tries = 0;
    let came = service::wait::until_there("it", &shutdown, || {
        tries += 1;
        let there = if tries < 3 { Err("away") } else { Ok(tries) };
        async move { there }
    });
    assert_eq!(came.await, Some(3));
    let stop = shutdown.clone();
    let never = service::wait::until_there("it", &shutdown, || {
        stop.trigger();
        async { Err::<(), _>("away") }
    });
    assert_eq!(never.await, None);
}
