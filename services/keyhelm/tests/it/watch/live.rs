//! The program in a terminal of its own, over a rotation and an absence of the coordinator.

use std::io::{Read, Write};
use std::process::Child;
use std::sync::{Arc, Mutex};

use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};
use rustix::termios::{LocalModes, tcgetattr};
use serde_json::Value;

use crate::binary::Ran;
use crate::cluster::{Dev, ended, signal, until};

/// A terminal, what it shows, and the program in it.
struct Terminal {
    pty: Arc<Pty>,
    shown: Arc<Mutex<vt100::Parser>>,
    program: Child,
}

impl Terminal {
    /// Starts `keyhelm watch` in a terminal of 80x24.
    fn watch(dev: &Dev, variables: &[(&str, &str)]) -> Self {
        let (pty, pts) = open().unwrap();
        pty.resize(Size::new(24, 80)).unwrap();
        let mut command = dev.home.command(&["watch", "--every", "500ms"]);
        command.env("TERM", "xterm-256color").envs(variables.iter().copied());
        let program = Command::from(command).spawn(pts).unwrap();
        let pty = Arc::new(pty);
        let shown = Arc::new(Mutex::new(vt100::Parser::new(rows(24), rows(80), 0)));
        let (reader, screen) = (Arc::clone(&pty), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // It fails when nobody has the other end any more.
            while let Ok(count @ 1..) = (&*reader).read(&mut bytes) {
                screen.lock().unwrap().process(&bytes[..count]);
            }
        });
        Self { pty, shown, program }
    }

    fn text(&self) -> String {
        self.shown.lock().unwrap().screen().contents()
    }

    fn shows(&self, words: &[&str]) {
        let has_all = || {
            let text = self.text();
            words.iter().all(|word| text.contains(word))
        };
        assert!(until(has_all), "{words:?} are not all in\n{}", self.text());
    }

    fn press(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).unwrap();
    }

    fn grow(&self) {
        self.shown.lock().unwrap().screen_mut().set_size(rows(40), rows(120));
        self.pty.resize(Size::new(40, 120)).unwrap();
    }

    fn is_coloured(&self) -> bool {
        let shown = self.shown.lock().unwrap();
        let screen = shown.screen();
        let cells =
            (0..24).flat_map(|row| (0..80).filter_map(move |column| screen.cell(row, column)));
        let mut colours = cells.flat_map(|cell| [cell.fgcolor(), cell.bgcolor()]);
        colours.any(|colour| colour != vt100::Color::Default)
    }

    /// Whether letters are shown as they are typed, and lines are given when they end.
    fn is_cooked(&self) -> bool {
        let wanted = LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        tcgetattr(&*self.pty).unwrap().local_modes.contains(wanted)
    }

    /// Waits for the program's end. The terminal must be as it was before.
    fn ended(mut self) -> (Option<i32>, String) {
        assert!(until(|| self.program.try_wait().unwrap().is_some()), "{}", self.text());
        let code = self.program.wait().unwrap().code();
        let is_left = || !self.shown.lock().unwrap().screen().alternate_screen();
        assert!(until(is_left), "the frame is still there:\n{}", self.text());
        assert!(!self.shown.lock().unwrap().screen().hide_cursor(), "the cursor is hidden");
        assert!(self.is_cooked(), "the terminal is raw");
        (code, self.text())
    }
}

fn rows(count: u16) -> std::num::NonZeroU16 {
    std::num::NonZeroU16::new(count).unwrap()
}

#[test]
fn a_rotation_and_an_absence_are_seen_in_a_terminal() {
    let mut dev = Dev::ready(&["--standing-order", "0"]);
    dev.good(&["keys", "create", "--count", "5000"]);
    let terminal = Terminal::watch(&dev, &[]);
    terminal.shows(&["instance embedded", "connected", "(initialise)", "Valid", "5,000 keys"]);
    assert!(!terminal.is_cooked() && terminal.is_coloured());

    dev.good(&["auto-mk-rotate"]);
    terminal.shows(&["(rotate)", "5,000 of 5,000 keys 100%", "dropping the old key storage"]);
    let to = crate::with_cluster::objects(&dev.good(&["rotations", "--json"]))[0]["to"].clone();
    let to = &to.as_str().unwrap()[..8];
    let all_units = || terminal.text().matches(&format!("Empty    {to}")).count() == 5;
    assert!(until(all_units), "{to} is not in all units:\n{}", terminal.text());

    terminal.grow();
    terminal.shows(&["NEW PATTERN", "decided: from here it only goes forward"]);
    terminal.press("?");
    terminal.shows(&["Help", "end the watch; a rotation goes on"]);
    terminal.press("?p");
    terminal.shows(&["PAUSED at"]);
    terminal.press("p");

    let port = dev.coordinator_port();
    dev.crash();
    terminal.shows(&["AWAY for", "does not answer"]);
    dev.restart_at(port);
    terminal.shows(&["connected, units every 500ms", "connected again"]);
    terminal.press("q");
    let (code, text) = terminal.ended();
    assert_eq!((code, text.trim()), (Some(0), ""), "the screen is as it was");
}

#[test]
fn however_a_watch_ends_the_terminal_is_given_back() {
    let dev = Dev::ready(&[]);
    let terminal = Terminal::watch(&dev, &[("NO_COLOR", "1")]);
    terminal.shows(&["connected", "(initialise)", "dropping the old key storage"]);
    assert!(!terminal.is_coloured(), "NO_COLOR is not obeyed");
    terminal.press("\u{3}");
    let (code, text) = terminal.ended();
    assert_eq!((code, text.contains("you have stopped watching")), (Some(130), true), "{text}");

    for name in ["-TERM", "-HUP", "-INT"] {
        let terminal = Terminal::watch(&dev, &[]);
        terminal.shows(&["connected"]);
        signal(&terminal.program, name);
        assert_eq!(terminal.ended().0, Some(130), "{name}");
    }
}

#[test]
fn without_a_terminal_there_is_one_frame() {
    let dev = Dev::start();
    let before = dev.good(&["watch"]);
    for word in ["instance embedded", "Empty            Empty", "None yet: keyhelm auto-init"] {
        assert!(before.contains(word), "{word}: {before}");
    }
    drop(dev);
    let dev = Dev::ready(&["--standing-order", "0"]);
    dev.good(&["auto-mk-rotate"]);
    let frame = dev.good(&["watch", "--once"]);
    for word in ["connected", "RECOVERY", "(rotate)", "done", "master key rotated", "generation 2"]
    {
        assert!(frame.contains(word), "{word}: {frame}");
    }
    assert!(!frame.contains('\u{1b}') && !frame.contains("q quit"), "{frame}");
    let objects = crate::with_cluster::objects(&dev.good(&["watch", "--once", "--json"]));
    let [object] = objects.as_slice() else { panic!("{objects:?}") };
    assert_eq!((&object["type"], &object["rotation"]["phase"]), (&"frame".into(), &"done".into()));
    assert_eq!(object["units"]["units"].as_array().unwrap().len(), 5);
    let unknown = dev.run(&["watch", "--instance", "nope"]);
    assert_eq!((unknown.code, unknown.err.contains("no instance nope")), (2, true), "{unknown:?}");
    assert_eq!(dev.run(&["watch", "--every", "100ms"]).code, 2);
}

#[test]
fn programs_are_told_every_phase_of_a_rotation() {
    let dev = Dev::ready(&["--standing-order", "0"]);
    dev.good(&["keys", "create", "--count", "5000"]);
    let mut watch = dev.begin(&["watch", "--json", "--every", "500ms"]);
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(watch.stdout.take().unwrap()));
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    let mut heard = Vec::new();
    while !heard.iter().any(|told: &Value| told["type"] == "units") {
        heard.push(next());
    }
    dev.good(&["auto-mk-rotate"]);
    let is_end = |told: &Value| {
        told["type"] == "event"
            && told["rotation"]["purpose"] == "rotate"
            && told["rotation"]["phase"] == "done"
    };
    while !heard.iter().any(is_end) {
        heard.push(next());
    }
    let events = heard.iter().filter(|told| told["type"] == "event");
    let of_rotation = events.filter(|told| told["rotation"]["purpose"] == "rotate");
    let phases: Vec<_> =
        of_rotation.map(|told| told["rotation"]["phase"].as_str().unwrap()).collect();
    let mut expected = ["generate", "install", "commit", "reencrypt", "promote", "flip", "clear"]
        .into_iter()
        .chain(["drop", "done"]);
    let mut rest = phases.iter();
    assert!(expected.all(|phase| rest.any(|found| *found == phase)), "{phases:?}");
    signal(&watch, "-INT");
    let Ran { code, err, .. } = ended(watch);
    let failure: Value = serde_json::from_str(&err).unwrap();
    assert_eq!((code, &failure["failure"]["code"]), (130, &"interrupted".into()));
}
