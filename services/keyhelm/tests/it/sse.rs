//! Event streams, in whatever pieces they arrive.

use keyhelm::client::sse::{SseEvent, SseParser};

const STREAM: &str = ": hello\n\nid: 7\nevent: rotation\ndata: {\"a\":\ndata: 1}\n\n\
                      :keep-alive\n\ndata:no space\r\n\r\nid: 9\r\ndata: last\r\rdata: cut";

fn event(id: Option<&str>, event: Option<&str>, data: &str) -> SseEvent {
    let own = |text: &str| text.to_owned();
    SseEvent { id: id.map(own), event: event.map(own), data: own(data) }
}

#[test]
fn events_are_the_same_however_the_stream_is_cut() {
    let expected = vec![
        event(Some("7"), Some("rotation"), "{\"a\":\n1}"),
        event(Some("7"), None, "no space"),
        event(Some("9"), None, "last"),
    ];
    let bytes = STREAM.as_bytes();
    for size in 1..=bytes.len() {
        let mut parser = SseParser::default();
        let mut found = Vec::new();
        for chunk in bytes.chunks(size) {
            found.extend(parser.feed(chunk).unwrap());
        }
        assert_eq!(found, expected, "in pieces of {size}");
    }
}

#[test]
fn a_byte_order_mark_is_skipped_and_an_event_without_data_is_none() {
    let mut parser = SseParser::default();
    let found = parser.feed("\u{feff}data: x\n\nid: 3\n\nevent: y\n\n".as_bytes()).unwrap();
    assert_eq!(found, vec![event(None, None, "x")]);
    assert_eq!(parser.feed(b"data\n\n").unwrap(), vec![event(Some("3"), None, "")]);
}

#[test]
fn an_endless_line_is_refused() {
    let mut parser = SseParser::default();
    let chunk = vec![b'x'; 64 * 1024];
    let refused = (0..32).any(|_| parser.feed(&chunk).is_err());
    assert!(refused);
}
