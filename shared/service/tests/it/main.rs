//! Settings from file and environment, and waiting.

#![allow(clippy::unwrap_used)]

use serde::{Deserialize, Serialize};
use service::settings::{self, Entry, Settings};
use service::{SecretText, Shutdown};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Example {
    name: String,
    pages: u32,
    is_strict: bool,
    hosts: Vec<String>,
    url: SecretText,
}

impl Default for Example {
    fn default() -> Self {
        Self {
            name: "one".to_owned(),
            pages: 8,
            is_strict: false,
            hosts: Vec::new(),
            url: "amqp://127.0.0.1".into(),
        }
    }
}

impl Settings for Example {
    const PROCESS: &'static str = "example";
    const ENTRIES: &'static [Entry] = &[
        Entry { key: "name", text: "Its name." },
        Entry { key: "pages", text: "Pages at once." },
        Entry { key: "is_strict", text: "Strict or not." },
        Entry { key: "hosts", text: "Hosts." },
        Entry { key: "url", text: "Where." },
    ];
    const LISTS: &'static [&'static str] = &["hosts"];

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
    assert_eq!((read.name.as_str(), read.pages, read.is_strict), ("two", 2, true));
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
