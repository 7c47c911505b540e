//! Somebody on the way between the program and a server: passes on, alters, loses and invents.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// What becomes of a request.
pub enum Deed {
    /// It is passed on, and so is its answer.
    Pass,
    /// It is passed on, and its answer is altered.
    Alter(fn(&mut Value)),
    /// It is passed on, and its answer is replaced: a status, a header line and a body.
    Replace(u16, &'static str, String),
    /// It is not passed on, but answered.
    Answer(u16, &'static str, String),
    /// It is not passed on, and the connection is closed.
    Drop,
    /// It is not passed on, and there is no answer.
    Hang,
}

/// Stands between.
pub struct Between {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Between {
    /// In front of a server. `judge` is given the method and the path of each request, and its body.
    pub fn new(server: &str, judge: impl FnMut(&str, &[u8]) -> Deed + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let server = server.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let (requests, judge) = (Arc::clone(&seen), Arc::new(Mutex::new(judge)));
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let (server, judge) = (server.clone(), Arc::clone(&judge));
                let requests = Arc::clone(&requests);
                std::thread::spawn(move || {
                    let connection = connection.unwrap();
                    // The program may end while it is answered.
                    let Some(request) = Request::read(&connection) else { return };
                    requests.lock().unwrap().push(request.line.clone());
                    let deed = (judge.lock().unwrap())(&request.line, &request.body);
                    let _ = request.answer(connection, &server, deed);
                });
            }
        });
        Self { url, seen }
    }

    /// A server that is wholly invented.
    pub fn alone(judge: impl FnMut(&str, &[u8]) -> Deed + Send + 'static) -> Self {
        Self::new("", judge)
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Method and path of each request so far that begins so.
    pub fn seen(&self, beginning: &str) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|line| line.starts_with(beginning)).cloned().collect()
    }
}

struct Request {
    /// Method and path.
    line: String,
    head: String,
    body: Vec<u8>,
}

impl Request {
    fn read(connection: &TcpStream) -> Option<Self> {
        let mut reader = BufReader::new(connection);
        let (head, length) = head(&mut reader)?;
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let line = head.lines().next()?.rsplit_once(' ')?.0.to_owned();
        Some(Self { line, head, body })
    }

    fn answer(&self, mut to: TcpStream, server: &str, deed: Deed) -> std::io::Result<()> {
        match deed {
            Deed::Pass => std::io::copy(&mut self.passed_on(server)?, &mut to).map(|_| ()),
            Deed::Alter(alter) => {
                let mut reader = BufReader::new(self.passed_on(server)?);
                let (head, length) = head(&mut reader).unwrap();
                let mut body = vec![0; length];
                reader.read_exact(&mut body)?;
                let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                let mut value: Value = serde_json::from_slice(&body).unwrap();
                alter(&mut value);
                say(&mut to, status, "Cache-Control: no-store", &value.to_string())
            }
            Deed::Replace(status, header, body) => {
                self.passed_on(server)?.read_to_end(&mut Vec::new())?;
                say(&mut to, status, header, &body)
            }
            Deed::Answer(status, header, body) => say(&mut to, status, header, &body),
            Deed::Drop => Ok(()),
            Deed::Hang => to.read_to_end(&mut Vec::new()).map(|_| ()),
        }
    }

    fn passed_on(&self, server: &str) -> std::io::Result<TcpStream> {
        let mut server = TcpStream::connect(server)?;
        let lines = self.head.lines().filter(|line| !line.is_empty());
        let head: String = lines.map(|line| format!("{line}\r\n")).collect();
        write!(server, "{head}Connection: close\r\n\r\n")?;
        server.write_all(&self.body)?;
        Ok(server)
    }
}

/// The head of a message, and how long its body is.
fn head(reader: &mut impl BufRead) -> Option<(String, usize)> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            return Some((head, length));
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
}

fn say(to: &mut TcpStream, status: u16, header: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    write!(
        to,
        "HTTP/1.1 {status} So\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n{header}\r\n\r\n{body}"
    )
}
