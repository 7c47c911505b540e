//! Server-sent events: bytes in, events out (the part of the HTML standard that servers use).

/// Longest event that is taken.
const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// The last id given so far.
    pub id: Option<String>,
    /// Its kind; `message` if absent.
    pub event: Option<String>,
    /// Its data lines, joined by line feeds.
    pub data: String,
}

/// The stream is no event stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {MAX_EVENT_BYTES} bytes")]
pub struct OversizedEvent;

/// Puts events together out of chunks that may end anywhere.
#[derive(Debug, Default)]
pub struct SseParser {
    line: Vec<u8>,
    is_after_cr: bool,
    has_begun: bool,
    id: Option<String>,
    event: Option<String>,
    data: Option<String>,
}

impl SseParser {
    /// Takes a chunk and gives the events that it completes.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<Vec<SseEvent>, OversizedEvent> {
        let mut events = Vec::new();
        for byte in chunk {
            let is_second_half = self.is_after_cr && *byte == b'\n';
            self.is_after_cr = *byte == b'\r';
            match byte {
                b'\n' if is_second_half => {}
                b'\n' | b'\r' => events.extend(self.end_line()),
                _ => self.line.push(*byte),
            }
            if self.line.len() + self.data.as_ref().map_or(0, String::len) > MAX_EVENT_BYTES {
                return Err(OversizedEvent);
            }
        }
        Ok(events)
    }

    fn end_line(&mut self) -> Option<SseEvent> {
        let bytes = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&bytes);
        let mut line = text.as_ref();
        if !self.has_begun {
            self.has_begun = true;
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            return self.end_event();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            "event" => self.event = Some(value.to_owned()),
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            // Comments (no field name) keep the connection alive; unknown fields are for others.
            _ => {}
        }
        None
    }

    /// An event without data is none.
    fn end_event(&mut self) -> Option<SseEvent> {
        let event = self.event.take();
        let data = self.data.take()?;
        Some(SseEvent { id: self.id.clone(), event, data })
    }
}
