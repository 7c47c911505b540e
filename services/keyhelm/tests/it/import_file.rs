//! Files of keys: judged whole before anything is sent, and never quoted.

use std::net::TcpListener;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyhelm::verbs::keys::import::parse;

use crate::binary::{Home, text};

fn payload(length: usize) -> String {
    STANDARD.encode(vec![0xA7; length])
}

#[test]
fn good_lines_are_read_in_order() {
    let (root, standard) = (payload(32), payload(1000));
    let id = "7d3c1b52-6b0f-4c7e-9a55-1c9b7b1c2f10";
    let file = parse(&format!(
        "{{\"name\":\"root\",\"payload\":\"{root}\"}}\n\n\
         {{\"name\":\"standard\",\"payload\":\"{standard}\",\"extractable\":true,\"id\":\"{id}\"}}\n"
    ));
    assert_eq!(file.bad, vec![]);
    let names: Vec<_> = file.keys.iter().map(|key| (key.name.as_str(), key.extractable)).collect();
    assert_eq!(names, vec![("root", false), ("standard", true)]);
    assert_eq!(file.keys[0].payload.as_deref(), Some(root.as_str()));
    assert_eq!(file.keys[1].id.unwrap().to_string(), id);
}

/// Every way for a line to be bad, with a word of its reason.
fn bad_lines() -> Vec<(String, &'static str)> {
    let good = payload(16);
    let id = "7d3c1b52-6b0f-4c7e-9a55-1c9b7b1c2f10";
    vec![
        ("{\"name\":\"a1\",".to_owned(), "no JSON"),
        ("[1]".to_owned(), "object"),
        (format!("{{\"payload\":\"{good}\"}}"), "no name"),
        (format!("{{\"name\":\"x\",\"payload\":\"{good}\"}}"), "2 to 90"),
        ("{\"name\":\"none\"}".to_owned(), "no payload"),
        ("{\"name\":\"number\",\"payload\":5}".to_owned(), "payload is no text"),
        ("{\"name\":\"odd\",\"payload\":\"%%%SECRET%%%\"}".to_owned(), "no base64"),
        (format!("{{\"name\":\"short\",\"payload\":\"{}\"}}", payload(15)), "16, 24 or 32"),
        (
            format!("{{\"name\":\"long\",\"payload\":\"{}\",\"extractable\":true}}", payload(4097)),
            "1 to 4096",
        ),
        (format!("{{\"name\":\"flag\",\"payload\":\"{good}\",\"extractable\":1}}"), "true nor"),
        (format!("{{\"name\":\"id\",\"payload\":\"{good}\",\"id\":\"7\"}}"), "no UUID"),
        (format!("{{\"name\":\"more\",\"payload\":\"{good}\",\"colour\":1}}"), "unknown field"),
        (format!("{{\"name\":\"one\",\"payload\":\"{good}\",\"id\":\"{id}\"}}"), ""),
        (format!("{{\"name\":\"two\",\"payload\":\"{good}\",\"id\":\"{id}\"}}"), "line 13"),
    ]
}

#[test]
fn every_bad_line_is_named_without_its_payload() {
    let lines = bad_lines();
    let text: Vec<_> = lines.iter().map(|(line, _)| line.as_str()).collect();
    let file = parse(&text.join("\n"));
    let expected: Vec<_> = (1..).zip(&lines).filter(|(_, (_, word))| !word.is_empty()).collect();
    assert_eq!(file.bad.len(), expected.len());
    for (bad, (number, (_, word))) in file.bad.iter().zip(expected) {
        assert_eq!(bad.number, number);
        assert!(bad.reason.contains(word), "line {number}: {} lacks {word}", bad.reason);
    }
    let told = format!("{:?}", file.bad);
    assert!(!told.contains("SECRET") && !told.contains(&payload(15)), "{told}");
}

#[test]
fn a_bad_file_ends_with_2_and_nothing_is_sent() {
    let home = Home::new();
    let lines: Vec<_> = bad_lines().into_iter().map(|(line, _)| line).collect();
    let file = home.write("keys.jsonl", &lines.join("\n"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let servers = ["--server", &url, "--gateway", &url, "--instance", "prod"];
    let args = [&["keys", "import", text(&file)], servers.as_slice()].concat();
    let ran = home.run(&args);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("13 bad lines"), "{}", ran.err);
    for number in (1..=14).filter(|number| *number != 13) {
        assert!(ran.err.contains(&format!("line {number}: ")), "{number}: {}", ran.err);
    }
    assert!(ran.err.contains("nothing was sent") && !ran.err.contains("SECRET"), "{}", ran.err);
    let refused = listener.accept().unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::WouldBlock, "somebody connected");
}
